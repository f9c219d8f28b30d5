// SPDX-License-Identifier: Apache-2.0
// Facts, plans and steps in words, the same for every reporter that people read.

import { HYPERVISORS } from "../detect/clouds.js";
import { needsSignature } from "../detect/security.js";
import type { HostFacts } from "../facts.js";
import type { Plan } from "../plan/plan.js";
import { type RunName, type Step, stepTitle } from "../plan/steps.js";

export type Mark = "good" | "bad" | "plain";

/** One fact: a name, a text, and whether it helps. */
export interface Row {
  name: string;
  text: string;
  mark: Mark;
}

/** Texts of the machine's own (DMI, os-release) go to a terminal: nothing in them may command it. */
const row = (name: string, text: string, mark: Mark = "plain"): Row => ({ name, text: harmless(text), mark });

type Describe = (facts: Partial<HostFacts>) => Row[];

function describeHost({ distro, kernel }: Partial<HostFacts>): Row[] {
  if (!distro || !kernel) return [];
  const newer = kernel.newest === kernel.release ? "" : `, newest installed ${kernel.newest}`;
  return [row("host", `${distro.name}, kernel ${kernel.release}${newer}`)];
}

function describeMachine({ machine, cpu }: Partial<HostFacts>): Row[] {
  if (!machine || !cpu) return [];
  const { cloud, hypervisor } = machine;
  const kind = cloud
    ? `${cloud.name}${cloud.instanceType ? ` ${cloud.instanceType}` : ""}`
    : hypervisor === "none"
      ? "bare metal"
      : hypervisor === "wsl"
        ? "WSL"
        : `virtual machine (${HYPERVISORS[hypervisor]?.name ?? "hypervisor unknown"})`;
  const flag = cpu.virtualization === "none" ? "no vmx or svm flag" : cpu.virtualization;
  return [row("machine", kind), row("processor", `${cpu.model} (${flag})`)];
}

function describePlace({ container, wsl }: Partial<HostFacts>): Row[] {
  const rows = [];
  if (container) rows.push(row("inside", `a container (${container})`, "bad"));
  if (wsl) rows.push(row("inside", `WSL ${wsl}`));
  return rows;
}

function describeSecurity({ security }: Partial<HostFacts>): Row[] {
  if (!security) return [];
  const boot = {
    on: "Secure Boot on",
    off: "Secure Boot off",
    "no-efi": "no EFI",
    unknown: "Secure Boot unknown",
  };
  const parts = [boot[security.secureBoot]];
  if (security.lockdown !== "absent" && security.lockdown !== "none")
    parts.push(`lockdown ${security.lockdown}`);
  if (security.sigEnforce) parts.push("only signed modules");
  if (security.modulesDisabled) parts.push("module loading switched off");
  if (!security.modules) parts.push("no loadable modules");
  if (security.selinux === "enforcing") parts.push("SELinux enforcing");
  if (security.apparmor) parts.push("AppArmor");
  const bad = needsSignature(security) || security.modulesDisabled;
  return [row("security", parts.join(", "), bad ? "bad" : "plain")];
}

function describeBuild({ build, missingTools }: Partial<HostFacts>): Row[] {
  if (!build || !missingTools) return [];
  const texts = build.map(({ release, headers, compiler, found, mismatch }) => {
    if (!headers) return `${release}: no headers`;
    const with_ = mismatch ? `${found} is not the kernel's ${compiler}` : (found ?? "no compiler");
    return `${release}: headers, ${with_}`;
  });
  if (missingTools.length > 0) texts.push(`missing ${missingTools.join(", ")}`);
  return [row("modules", texts.join("; "))];
}

function describeEngines({ engines, cgroup }: Partial<HostFacts>): Row[] {
  if (!engines || !cgroup) return [];
  const { docker, podman, containerd, kubelet } = engines;
  const parts = [];
  if (docker)
    parts.push(`docker ${docker.version ?? ""}${docker.how === "package" ? "" : ` (${docker.how})`}`.trim());
  if (podman) parts.push(`podman ${podman.version ?? ""}`.trim());
  if (containerd) parts.push(`containerd ${containerd.version ?? ""}`.trim());
  if (kubelet) parts.push("kubelet");
  return [row("engines", `${parts.join(", ") || "none"}; cgroup ${cgroup}`)];
}

function describeDevices({ devices }: Partial<HostFacts>): Row[] {
  const shown = (devices ?? []).filter(
    ({ path, state }) => state !== "absent" || path !== "/dev/kontain" || devices?.length === 1,
  );
  return shown.map(({ path, state, evidence, access }) => {
    const mark = state === "works" ? "good" : state === "absent" ? "plain" : "bad";
    return row("device", `${path}: ${state} (${evidence}${access ? `, ${access}` : ""})`, mark);
  });
}

function describePrefix({ prefix }: Partial<HostFacts>): Row[] {
  if (!prefix) return [];
  const { path, verified, evidence, state, foreign, trouble } = prefix;
  if (trouble) return [row("prefix", trouble.evidence, "bad")];
  const text = verified ? `has ${verified}` : foreign ? "exists, with files of somebody else" : evidence;
  return [row("prefix", `${path}: ${text}`, state === "writable" ? "plain" : "bad")];
}

const DESCRIBE: Describe[] = [
  describeHost,
  describeMachine,
  describePlace,
  describeSecurity,
  describeBuild,
  describeEngines,
  describeDevices,
  describePrefix,
];

/** The facts there are so far, in a fixed order. */
export function describeFacts(facts: Partial<HostFacts>): Row[] {
  return DESCRIBE.flatMap((describe) => describe(facts));
}

const VERB: Record<Step["kind"], string> = {
  folder: "make",
  file: "write",
  text: "write",
  remove: "remove",
  run: "run",
};

const RUN_VERB: Record<RunName, string> = {
  packages: "install",
  group: "group",
  register: "dkms",
  build: "build",
  load: "load",
  "kvm-load": "load",
};

export function stepVerb(step: Step): string {
  if (step.kind !== "run") return VERB[step.kind];
  return RUN_VERB[step.name];
}

/** Files and folders below the prefix, which a person needs no list of. */
export function isOwnFile(step: Step, prefix: string): boolean {
  return step.kind !== "run" && step.path.startsWith(`${prefix}/`);
}

/** What a plan changes, one line each; our own files as one line unless `all` are wanted. */
export function describePlan(plan: Plan, all: boolean): { verb: string; text: string }[] {
  const own = plan.steps.filter((step) => isOwnFile(step, plan.prefix));
  const files = own.filter((step) => step.kind === "file" || step.kind === "text").length;
  const lines = [];
  if (!all && own.length > 0) {
    const removed = own.filter((step) => step.kind === "remove").length;
    const too = removed > 0 ? `, remove ${removed}` : "";
    lines.push({
      verb: "write",
      text: `${files} ${files === 1 ? "file" : "files"} below ${plan.prefix}${too}`,
    });
  }
  for (const step of plan.steps) {
    if (!all && isOwnFile(step, plan.prefix)) continue;
    lines.push({
      verb: stepVerb(step),
      text: stepTitle(step).replace(/^(install|build and install|load) /, ""),
    });
  }
  return lines;
}

/** A line of a plan; `aside`: it changes nothing, and is to be known. */
export interface PlanRow {
  verb: string;
  text: string;
  aside: boolean;
}

/** What a plan changes, what is run at the end, how much of it needs root, and what else to know. */
export function planRows(plan: Plan, all: boolean): PlanRow[] {
  const nothing = { verb: "nothing", text: "to be changed: everything is in place" };
  const steps = plan.steps.length === 0 ? [nothing] : describePlan(plan, all);
  const hello = { verb: "run", text: `the hello payload on ${plan.device}` };
  const root = plan.rootSteps > 0 ? [{ verb: "root", text: `${plan.rootSteps} of the steps need it` }] : [];
  const notes = plan.notes.map((text) => ({ verb: "note", text }));
  return [
    ...[...steps, hello].map((row) => ({ ...row, aside: false })),
    ...[...root, ...notes].map((row) => ({ ...row, aside: true })),
  ];
}

/** "4.2 s", "1 min 5 s". */
export function elapsed(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
const COMMANDS = /\u001b\[[0-9;?]*[a-zA-Z]|[\u0000-\u001f\u007f-\u009f]/g;

/** What others wrote as one line of text, without what a terminal would obey. */
export function harmless(text: string): string {
  return text.replace(/[\t\r\n]+/g, " ").replace(COMMANDS, "");
}
