// SPDX-License-Identifier: Apache-2.0
// From facts and wishes to an ordered list of steps, or to a refusal. Pure: no clock, no file, no process.
import { dirname, join } from "node:path";
import semver from "semver";
import { atLeast } from "../detect/kernel.js";
import { KVM_MODULES_LOAD } from "../etc.js";
import { type DeviceFacts, type HostFacts, KKM, KVM, type Wishes } from "../facts.js";
import { type Problem, problem, type ReasonId } from "../reasons.js";
import { accessFix, sudoNotes } from "./access.js";
import { engineSteps } from "./engines.js";
import { kkmNotes, kkmProblem, kkmSteps, textSteps } from "./kkm.js";
import { needsRoot, type Step } from "./steps.js";

export type { Step } from "./steps.js";

export interface Plan {
  kind: "plan";
  version: string;
  prefix: string;
  device: string;
  /** Why this device. */
  because: string;
  steps: Step[];
  /** How many steps need root. */
  rootSteps: number;
  /** Things a person should know that stop nothing. */
  notes: string[];
}

export interface Refusal {
  kind: "refusal";
  /** Stable name, for scripts. */
  code: ReasonId;
  reason: string;
  /** What would change the answer. */
  remedy: string;
}

/** Oldest kernel with the KVM that km needs. */
export const OLDEST_KERNEL = { major: 4, minor: 15 } as const;
/** Room beyond the files themselves: backups, the journal, a build of the module. */
const SPARE_BYTES = 32 << 20;

function refuse({ id, evidence, fix }: Problem): Refusal {
  return { kind: "refusal", code: id, reason: evidence, remedy: fix };
}

function checkHost(facts: HostFacts): Problem | undefined {
  if (facts.platform !== "linux" || facts.arch !== "x64") {
    return problem(
      "host-platform",
      `km runs on 64-bit x86 Linux; this is ${facts.platform} on ${facts.arch}`,
    );
  }
  if (facts.wsl === 1) return problem("wsl-1", "this is WSL 1, which has no Linux kernel");
  const { major, minor } = OLDEST_KERNEL;
  if (!atLeast(facts.kernel, major, minor)) {
    return problem("kernel-too-old", `kernel ${facts.kernel.release} is older than ${major}.${minor}`);
  }
  if (facts.bundle.missing.length > 0) {
    const evidence = `not built yet: ${facts.bundle.missing.join(", ")}`;
    if (facts.compiler) return problem("bundle-missing", evidence);
    return problem(
      "bundle-missing",
      evidence,
      "install a compiler (Debian, Ubuntu: apt-get install -y build-essential python3), then run `npm run build`",
    );
  }
  return undefined;
}

/** What a device is taken for: as it is, after loading KVM's module, or after building KKM. */
interface Choice {
  device: string;
  way: "as-is" | "load-kvm" | "kkm";
  because: string;
  notes: string[];
}

function refuseDevice(facts: HostFacts, device: DeviceFacts): Problem {
  const seen = `${device.path}: ${device.evidence}`;
  if (device.state === "denied") {
    const fix = accessFix(device, facts.user);
    return problem("device-denied", `${seen} (${device.access ?? "unknown access"})`, fix);
  }
  if (device.state === "other") return problem("device-not-a-device", seen);
  return problem("device-broken", seen);
}

/** How hardware virtualization would come to this machine, for a note or a way out; empty when it cannot. */
function nestedAdvice(facts: HostFacts): string {
  const { cloud, nested } = facts.machine;
  if (facts.cpu.virtualization !== "none" || nested.offer === "never" || nested.how === "") return "";
  const where = cloud ? `${cloud.name}${cloud.instanceType ? ` ${cloud.instanceType}` : ""}: ` : "";
  return `${where}${nested.how}`;
}

const kvmModule = (facts: HostFacts) => (facts.cpu.virtualization === "vmx" ? "kvm_intel" : "kvm_amd");

/** Whether /dev/kvm would come by loading its module. */
function kvmLoadable(facts: HostFacts): boolean {
  const { container, security, cpu } = facts;
  return cpu.virtualization !== "none" && !container && security.modules && !security.modulesDisabled;
}

function chooseKvm(facts: HostFacts): Choice | Problem {
  const device = facts.devices.find(({ path }) => path === KVM);
  if (device?.state === "works") return asIs(facts, device);
  if (device && device.state !== "absent") return refuseDevice(facts, device);
  if (!kvmLoadable(facts)) {
    const advice = nestedAdvice(facts);
    const elsewhere = facts.container ? "give the container --device /dev/kvm" : "use --device kkm";
    return problem("device-absent", `there is no ${KVM}`, advice ? `${advice}; or ${elsewhere}` : elsewhere);
  }
  const module = kvmModule(facts);
  if (facts.user.uid !== 0) {
    return problem("root-needed", `there is no ${KVM}, and only root can load ${module}`);
  }
  const because = `the processor has ${facts.cpu.virtualization}; ${module} only has to be loaded`;
  return { device: KVM, way: "load-kvm", because, notes: [] };
}

function asIs(facts: HostFacts, device: DeviceFacts): Choice {
  const notes = sudoNotes(device, facts.user);
  return { device: device.path, way: "as-is", because: "a guest ran on it", notes };
}

function chooseKkm(facts: HostFacts, wishes: Wishes, because: string): Choice | Problem {
  const device = facts.devices.find(({ path }) => path === KKM);
  const blocked = kkmProblem(facts, wishes);
  // Somebody else sees to the module: the host of this container, or another way of installing it.
  if (blocked && device?.state === "works") return asIs(facts, device);
  if (blocked) return device?.state === "denied" ? refuseDevice(facts, device) : blocked;
  return { device: KKM, way: "kkm", because, notes: kkmNotes(facts, wishes.prefix) };
}

function chooseNamed(facts: HostFacts, path: string): Choice | Problem {
  const device = facts.devices.find((candidate) => candidate.path === path);
  if (device?.state === "works") return asIs(facts, device);
  if (device && device.state !== "absent") return refuseDevice(facts, device);
  return problem("device-absent", `there is no ${path}`, "name another with --device, or leave it out");
}

/** The device to use, or why there is none. Of several that do not work, the one that is nearest to working. */
function chooseAny(facts: HostFacts, wishes: Wishes): Choice | Problem {
  const works = facts.devices.find((device) => device.state === "works");
  const ours = facts.build.some(({ module }) => module !== "absent");
  if (works && works.path !== KKM) return asIs(facts, works);
  if (works) return ours ? chooseKkm(facts, wishes, "a guest ran on it") : asIs(facts, works);
  const denied = facts.devices.find((device) => device.state === "denied");
  if (denied) return refuseDevice(facts, denied);
  const broken = facts.devices.find((device) => device.state === "broken" || device.state === "other");
  if (!broken && kvmLoadable(facts)) return chooseKvm(facts);
  const advice = nestedAdvice(facts);
  const why = broken
    ? `${broken.path} is there, but no guest runs on it (${broken.evidence})`
    : "there is no hardware virtualization here";
  const kkm = chooseKkm(facts, wishes, `${why}; KKM does without it`);
  if (!("id" in kkm)) {
    return advice
      ? { ...kkm, notes: [`hardware virtualization would be quicker. ${advice}`, ...kkm.notes] }
      : kkm;
  }
  if (broken) return refuseDevice(facts, broken);
  return {
    ...kkm,
    evidence: `no ${KVM}, and no KKM: ${kkm.evidence}`,
    fix: advice ? `${kkm.fix}. Or: ${advice}` : kkm.fix,
  };
}

function choose(facts: HostFacts, wishes: Wishes): Choice | Problem {
  if (wishes.device === KVM) return chooseKvm(facts);
  if (wishes.device === KKM) return chooseKkm(facts, wishes, "it was asked for");
  if (wishes.device) return chooseNamed(facts, wishes.device);
  return chooseAny(facts, wishes);
}

function checkPrefix(facts: HostFacts): Problem | undefined {
  const { path, state, evidence, targets, free, trouble, foreign } = facts.prefix;
  if (trouble) return trouble;
  if (state === "denied") {
    const seen = `${path}: ${evidence}`;
    if (facts.user.uid !== 0) return problem("prefix-denied", seen);
    return problem("prefix-denied", seen, "name a folder of root's with --prefix, or run this as that user");
  }
  if (state === "not-a-folder") return problem("prefix-blocked", `${path}: ${evidence}`);
  const blocked = targets.find((target) => target.state === "not-a-file");
  if (blocked) {
    return problem("prefix-blocked", `${join(path, blocked.target)} is in the way: not an ordinary file`);
  }
  const others = targets.filter((target) => target.state === "foreign").map((one) => join(path, one.target));
  if (foreign && others.length > 0) {
    const more = others.length > 1 ? ` (and ${others.length - 1} more)` : "";
    return problem(
      "prefix-foreign",
      `${others[0]}${more} is somebody else's: not of an installation by this tool`,
    );
  }
  if (free !== undefined && free < SPARE_BYTES) {
    const mib = (bytes: number) => `${Math.floor(bytes / (1 << 20))} MiB`;
    return problem("disk-full", `${path}: ${mib(free)} free, ${mib(SPARE_BYTES)} needed`);
  }
  return undefined;
}

function fileSteps(facts: HostFacts, prefix: string): Step[] {
  const files = facts.bundle.files.filter((_, index) => facts.prefix.targets[index]?.state !== "same");
  const folders = new Set<string>();
  for (const file of files) {
    for (let folder = dirname(file.target); folder !== "."; folder = dirname(folder)) folders.add(folder);
  }
  return [
    ...facts.prefix.obsolete.map((target): Step => ({ kind: "remove", path: join(prefix, target) })),
    ...[...folders]
      .sort()
      .map((folder): Step => ({ kind: "folder", path: join(prefix, folder), mode: 0o755 })),
    ...files.map((file): Step => {
      const { source, mode, sha256 } = file;
      return { kind: "file", path: join(prefix, file.target), source, mode, sha256 };
    }),
  ];
}

function deviceSteps(facts: HostFacts, wishes: Wishes, choice: Choice): Step[] {
  if (choice.way === "kkm") return kkmSteps(facts, wishes);
  if (choice.way === "as-is") return [];
  const module = kvmModule(facts);
  return [
    ...textSteps(facts, [
      { path: KVM_MODULES_LOAD, content: `${module}\n`, mode: 0o644, why: `loads ${module} at boot` },
    ]),
    {
      kind: "run",
      name: "kvm-load",
      title: `load ${module}`,
      argv: ["modprobe", module],
      touches: [],
      undo: ["modprobe", "-r", module],
      merge: null,
      stays: null,
      optional: false,
      seconds: 60,
    },
  ];
}

/** Whoever asks for an older version gets it, and is told. */
function olderNote({ prefix, bundle }: HostFacts): string[] {
  const [there, comes] = [prefix.verified, bundle.version].map((version) => semver.valid(version ?? null));
  if (!there || !comes || !semver.lt(comes, there)) return [];
  return [`${there} is installed; this is the older ${comes}, which takes its place`];
}

function replacedNotes(facts: HostFacts, prefix: string): string[] {
  return facts.prefix.targets
    .filter((target) => target.state === "foreign")
    .map(
      (target) =>
        `${join(prefix, target.target)} is replaced; \`kontain uninstall\` brings back what was there`,
    );
}

/**
 * Decides what to do. The steps leave out what is already as it should be, so a second installation of the same
 * version has none and only runs the payload.
 */
export function plan(facts: HostFacts, wishes: Wishes): Plan | Refusal {
  const host = checkHost(facts);
  if (host) return refuse(host);
  const choice = choose(facts, wishes);
  if ("id" in choice) return refuse(choice);
  const blocked = checkPrefix(facts);
  if (blocked) return refuse(blocked);
  const engines = engineSteps(facts, wishes.prefix);
  if (engines.problem) return refuse(engines.problem);
  const { prefix } = wishes;
  const steps = [...fileSteps(facts, prefix), ...deviceSteps(facts, wishes, choice), ...engines.steps];
  return {
    kind: "plan",
    version: facts.bundle.version,
    prefix,
    device: choice.device,
    because: choice.because,
    steps,
    rootSteps: steps.filter((step) => needsRoot(step, prefix)).length,
    notes: [...choice.notes, ...engines.notes, ...olderNote(facts), ...replacedNotes(facts, prefix)],
  };
}
