// SPDX-License-Identifier: Apache-2.0
// KKM: whether this host can have it, and the steps to it.
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { sourceStamp } from "../detect/build.js";
import { atLeast } from "../detect/kernel.js";
import { needsSignature } from "../detect/security.js";
import { KERNEL_HOOKS, MODULES_LOAD, UDEV_RULE } from "../etc.js";
import { type HostFacts, type KernelBuildFacts, KKM, type Wishes } from "../facts.js";
import {
  ADD_GROUP_SCRIPT,
  DELETE_GROUP_SCRIPT,
  debianHook,
  fedoraHook,
  LOAD_SCRIPT,
  rebuildScript,
  UNLOAD_SCRIPT,
} from "../kkm-scripts.js";
import { type Problem, problem } from "../reasons.js";
import { dkmsSteps, usesDkms } from "./dkms.js";
import { type Wanted, wantedPackages } from "./packages.js";
import { moduleIndexes, type RunStep, run, type Step, sh, type TextStep } from "./steps.js";

/** Files that groupadd(8) and usermod(8) write. */
const GROUP_FILES = ["/etc/group", "/etc/gshadow", "/etc/group-", "/etc/gshadow-", "/etc/.pwd.lock"];

const RULE_TARGET = "kkm/60-kkm.rules";

function mokSteps(facts: HostFacts): string {
  const { key } = facts.security;
  if (!atLeast(facts.kernel, 5, 10)) return "";
  const certificate = key?.certificate ?? "/var/lib/shim-signed/mok/MOK.der";
  const make = key
    ? ""
    : `make a key pair (${certificate.replace(/MOK\.der$/, "MOK.priv")} and MOK.der: update-secureboot-policy --new-key, or openssl req -new -x509 -newkey rsa:2048 -nodes -outform DER), then `;
  return `${make}mokutil --import ${certificate}, boot, confirm on the machine's console, run this again`;
}

function signatureProblem(facts: HostFacts): Problem | undefined {
  const { security } = facts;
  if (!needsSignature(security)) return undefined;
  const why = security.sigEnforce
    ? "module.sig_enforce is on"
    : security.lockdown === "absent"
      ? "Secure Boot is on"
      : `lockdown is ${security.lockdown}${security.secureBoot === "on" ? " under Secure Boot" : ""}`;
  if (security.secureBoot === "no-efi") {
    return problem(
      "signature-required",
      `${why}: the kernel takes only modules signed with a key it was built with`,
      "this machine has no EFI, so no owner's key (MOK) can be enrolled: boot without module.sig_enforce, " +
        "or use hardware virtualization",
    );
  }
  if (!security.key) {
    return problem(
      "signature-required",
      `${why}, and there is no owner's key (MOK) to sign with`,
      mokSteps(facts),
    );
  }
  if (security.key.enrolled === false) {
    return problem(
      "key-not-enrolled",
      `${why}, and ${security.key.certificate} is not enrolled`,
      mokSteps(facts),
    );
  }
  return undefined;
}

function wanted(facts: HostFacts): Wanted | null {
  const running = facts.build[0];
  return running ? wantedPackages(facts, [running]) : null;
}

function buildProblem(facts: HostFacts, wishes: Wishes): Problem | undefined {
  const needs = wanted(facts);
  if (!needs) return undefined;
  const running = facts.build[0];
  const missing = !running?.headers
    ? `no headers of kernel ${facts.kernel.release} in /lib/modules/${facts.kernel.release}/build`
    : running.mismatch
      ? `kernel ${running.release} was built with ${running.compiler}; here is ${running.found} of another version`
      : `missing: ${needs.packages.join(", ")}`;
  const id = !running?.headers ? "headers-missing" : "compiler-missing";
  const line = `install ${needs.packages.join(", ")}`;
  if (wishes.offline)
    return problem(id, `${missing}, and --offline forbids fetching`, `${line}, or run without --offline`);
  if (!needs.command) return problem(id, `${missing}, and no package manager is known here`, line);
  return undefined;
}

/** Why this host cannot have KKM; undefined when it can. */
export function kkmProblem(facts: HostFacts, wishes: Wishes): Problem | undefined {
  const { kernel, security } = facts;
  if (facts.container) return problem("inside-container", `this is inside a container (${facts.container})`);
  if (facts.wsl === 2) return problem("kkm-wsl", "WSL 2's kernel has no headers to build a module against");
  if (!atLeast(kernel, 5, 10))
    return problem("kkm-kernel-too-old", `kernel ${kernel.release} is older than 5.10`);
  if (!security.modules)
    return problem("kernel-without-modules", `kernel ${kernel.release} takes no modules`);
  if (security.modulesDisabled) return problem("modules-disabled", "kernel.modules_disabled is 1");
  const blocked = signatureProblem(facts) ?? buildProblem(facts, wishes);
  if (blocked) return blocked;
  if (facts.user.uid !== 0) {
    return problem("root-needed", "packages, /etc, /lib/modules and loading the module are root's");
  }
  return undefined;
}

function packagesStep(facts: HostFacts): RunStep[] {
  const needs = wanted(facts);
  if (!needs?.command) return [];
  const names = needs.packages.join(" ");
  return [
    run({
      name: "packages",
      title: `install ${names} (${facts.packages})`,
      argv: needs.command,
      stays: `packages stay installed; to remove them: ${needs.remove} ${names}`,
      seconds: 1800,
    }),
  ];
}

function groupStep(facts: HostFacts): RunStep[] {
  const { group } = facts.kkm;
  const member = facts.user.sudo;
  if (group && (!member || group.includes(member))) return [];
  const joins = member ? `, ${member} a member of it` : "";
  return [
    run({
      name: "group",
      title: group ? `group kkm: add ${member}` : `group kkm, whose members may use ${KKM}${joins}`,
      argv: sh(ADD_GROUP_SCRIPT, ...(member ? [member] : [])),
      touches: GROUP_FILES.map((path) => ({ path, ours: false })),
      merge: group ? null : sh(DELETE_GROUP_SCRIPT),
    }),
  ];
}

function buildStep(kernel: KernelBuildFacts, prefix: string, releases: string[], optional: boolean): RunStep {
  const { release } = kernel;
  const rebuild = join(prefix, "kkm/rebuild.sh");
  const folder = `/lib/modules/${release}`;
  return run({
    name: "build",
    title: `build and install kkm.ko for kernel ${release}`,
    argv: ["sh", rebuild, release],
    touches: [
      { path: `${folder}/updates/kkm.ko`, ours: true },
      { path: join(prefix, "kkm/built", release), ours: true },
      ...moduleIndexes(release),
    ],
    undo: ["sh", rebuild, "--remove-except", ...releases],
    merge: ["depmod", release],
    optional,
    seconds: 1800,
  });
}

const sha = (text: string) => createHash("sha256").update(text).digest("hex");

/** Steps that put texts in place, with the folders they need; none for what is there already. */
export function textSteps(facts: HostFacts, texts: Omit<TextStep, "kind">[]): Step[] {
  const folders = new Set<string>();
  const files: Step[] = [];
  for (const text of texts) {
    if (facts.etc[text.path] === text.content) continue;
    for (let folder = dirname(text.path); /^\/etc\/./.test(folder); folder = dirname(folder)) {
      if (!facts.folders.includes(folder)) folders.add(folder);
    }
    files.push({ kind: "text", ...text });
  }
  return [...[...folders].sort().map((path): Step => ({ kind: "folder", path, mode: 0o755 })), ...files];
}

/** Which hooks this distribution's kernel packages run. */
function hooks(facts: HostFacts, prefix: string) {
  const names = [facts.distro.id, ...facts.distro.like];
  const why = "a new kernel gets its module when it is installed";
  if (names.some((name) => name === "debian" || name === "ubuntu")) {
    return KERNEL_HOOKS.debian.map((path) => ({ path, content: debianHook(prefix), mode: 0o755, why }));
  }
  if (names.some((name) => ["fedora", "rhel", "centos", "amzn", "suse", "opensuse"].includes(name))) {
    return KERNEL_HOOKS.fedora.map((path) => ({ path, content: fedoraHook(prefix), mode: 0o755, why }));
  }
  return [];
}

function ruleStep(facts: HostFacts): Step[] {
  const rule = facts.bundle.files.find(({ target }) => target === RULE_TARGET);
  const there = facts.etc[UDEV_RULE];
  if (!rule || (typeof there === "string" && sha(there) === rule.sha256)) return [];
  const folders = ["/etc/udev", "/etc/udev/rules.d"].filter((path) => !facts.folders.includes(path));
  const { source, sha256 } = rule;
  return [
    ...folders.map((path): Step => ({ kind: "folder", path, mode: 0o755 })),
    { kind: "file", path: UDEV_RULE, source, mode: 0o644, sha256 },
  ];
}

/** Modules built by our own script, and a hook that runs it for new kernels. */
function ownSteps(facts: HostFacts, prefix: string, kernels: KernelBuildFacts[]): Step[] {
  const stamp = sourceStamp(facts.bundle.files);
  const releases = kernels.map(({ release }) => release);
  const stale = kernels.filter(({ module }) => module !== "current");
  const folder = (path: string): Step => ({ kind: "folder", path, mode: 0o755 });
  return [
    ...textSteps(facts, [
      {
        path: join(prefix, "kkm/rebuild.sh"),
        content: rebuildScript(prefix),
        mode: 0o755,
        why: "builds the module",
      },
      { path: join(prefix, "kkm/stamp"), content: `${stamp}\n`, mode: 0o644, why: "names these sources" },
    ]),
    ...(facts.folders.includes(join(prefix, "kkm/built")) ? [] : [folder(join(prefix, "kkm/built"))]),
    ...stale.flatMap((kernel) => [
      ...(facts.folders.includes(`/lib/modules/${kernel.release}/updates`)
        ? []
        : [folder(`/lib/modules/${kernel.release}/updates`)]),
      buildStep(kernel, prefix, releases, kernel !== kernels[0]),
    ]),
    ...textSteps(facts, hooks(facts, prefix)),
  ];
}

/** Everything that makes /dev/kkm be there, now and after the next boot. The prefix's files are in place before. */
export function kkmSteps(facts: HostFacts, wishes: Wishes): Step[] {
  const { prefix } = wishes;
  const [running, newest] = facts.build;
  const kernels = [running, ...(newest?.headers ? [newest] : [])].filter((kernel) => kernel !== undefined);
  const reload = facts.kkm.loaded && running?.module !== "current" ? ["reload"] : [];
  const works = facts.devices.some(({ path, state }) => path === KKM && state === "works");
  return [
    ...packagesStep(facts),
    ...groupStep(facts),
    ...ruleStep(facts),
    ...(usesDkms(facts) ? dkmsSteps(facts, kernels) : ownSteps(facts, prefix, kernels)),
    ...textSteps(facts, [
      { path: MODULES_LOAD, content: "kkm\n", mode: 0o644, why: "loads the module at boot" },
    ]),
    ...(works && reload.length === 0 && facts.kkm.loaded
      ? []
      : [
          run({
            name: "load",
            title: `load the module; ${KKM} is 0660 root:kkm`,
            argv: sh(LOAD_SCRIPT, ...reload),
            undo: sh(UNLOAD_SCRIPT),
          }),
        ]),
  ];
}

/** Things to know about KKM on this host that stop nothing. */
export function kkmNotes(facts: HostFacts, prefix: string): string[] {
  const notes = [];
  const newest = facts.build[1];
  if (newest && !newest.headers) {
    notes.push(
      `kernel ${newest.release}, which the next boot may take, has no headers yet: install them ` +
        "(the module is then built by itself), or there is no /dev/kkm after that boot",
    );
  }
  if (facts.kernel.installed.length > 0 && !usesDkms(facts) && hooks(facts, prefix).length === 0) {
    notes.push(`after a kernel upgrade run: sudo ${join(prefix, "kkm/rebuild.sh")} RELEASE`);
  }
  const { sudo } = facts.user;
  if (sudo && !facts.kkm.group?.includes(sudo)) {
    notes.push(`group membership of ${sudo} begins with the next log-in`);
  }
  return notes;
}
