// SPDX-License-Identifier: Apache-2.0
// From facts and wishes to an ordered list of steps, or to a refusal. Pure: no clock, no file, no process.
import { dirname, join } from "node:path";
import type { DeviceFacts, HostFacts, Wishes } from "../facts.js";

/** One change to the host. Applied and undone by apply/. */
export type Step =
  | { kind: "folder"; path: string; mode: number }
  | { kind: "file"; path: string; source: string; mode: number; sha256: string }
  | { kind: "remove"; path: string };

export interface Plan {
  kind: "plan";
  version: string;
  prefix: string;
  device: string;
  steps: Step[];
  /** Things a person should know that stop nothing. */
  notes: string[];
}

export interface Refusal {
  kind: "refusal";
  /** Stable name, for scripts. */
  code:
    | "platform"
    | "bundle"
    | "device-absent"
    | "device-denied"
    | "device-broken"
    | "prefix-denied"
    | "prefix-blocked";
  reason: string;
  /** What would change the answer. */
  remedy: string;
}

const OLDEST_KERNEL = { major: 5, minor: 10 };

function refuse(code: Refusal["code"], reason: string, remedy: string): Refusal {
  return { kind: "refusal", code, reason, remedy };
}

function checkHost(facts: HostFacts): Refusal | undefined {
  if (facts.platform !== "linux" || facts.arch !== "x64") {
    return refuse(
      "platform",
      `km runs on 64-bit x86 Linux; this is ${facts.platform} on ${facts.arch}`,
      "use an x86-64 Linux machine, or a virtual machine that is one",
    );
  }
  const { release, major, minor } = facts.kernel;
  if (major < OLDEST_KERNEL.major || (major === OLDEST_KERNEL.major && minor < OLDEST_KERNEL.minor)) {
    const needed = `${OLDEST_KERNEL.major}.${OLDEST_KERNEL.minor}`;
    return refuse(
      "platform",
      `kernel ${release} is older than ${needed}`,
      `boot a kernel of ${needed} or newer`,
    );
  }
  if (facts.bundle.missing.length > 0) {
    const remedy = facts.compiler
      ? "run `npm run build` in the package's folder"
      : "install a compiler (Debian, Ubuntu: apt-get install -y build-essential python3), then run `npm run build`";
    return refuse("bundle", `not built yet: ${facts.bundle.missing.join(", ")}`, remedy);
  }
  return undefined;
}

function absentRemedy(facts: HostFacts): string {
  if (facts.cpu.virtualization === "none") {
    return (
      "this machine offers no hardware virtualization: switch nested virtualization on where the machine is " +
      "configured, or use another one. A kernel module that does without it (/dev/kkm) is planned"
    );
  }
  const module = facts.cpu.virtualization === "vmx" ? "kvm_intel" : "kvm_amd";
  return `the processor has ${facts.cpu.virtualization}: load the module with \`modprobe ${module}\``;
}

function refuseDevice(facts: HostFacts, device: DeviceFacts): Refusal {
  const seen = `${device.path}: ${device.evidence}`;
  if (device.state === "absent") return refuse("device-absent", seen, absentRemedy(facts));
  if (device.state === "denied") {
    const group = device.access?.split(":")[1];
    const join =
      group && group !== "root"
        ? `add yourself to its group (sudo usermod -aG ${group} ${facts.user.name}, then log in again)`
        : "have its group and mode changed (chgrp kvm, chmod 0660), or run as root";
    return refuse("device-denied", `${seen} (${device.access ?? "unknown access"})`, join);
  }
  if (device.state === "other") {
    return refuse("device-broken", seen, "name a character device with --device");
  }
  return refuse(
    "device-broken",
    seen,
    "if another hypervisor (VirtualBox, VMware) holds the processor's virtualization, stop it; " +
      "otherwise see the line above",
  );
}

/** The device to use, or why there is none. Of several that do not work, the one that is nearest to working. */
function chooseDevice(facts: HostFacts, wishes: Wishes): DeviceFacts | Refusal {
  const devices = facts.devices.filter((device) => !wishes.device || device.path === wishes.device);
  const works = devices.find((device) => device.state === "works");
  if (works) return works;
  for (const state of ["denied", "broken", "other"] as const) {
    const device = devices.find((candidate) => candidate.state === state);
    if (device) return refuseDevice(facts, device);
  }
  if (wishes.device) {
    return refuse(
      "device-absent",
      `there is no ${wishes.device}`,
      "name another with --device, or leave it out",
    );
  }
  const paths = devices.map((device) => device.path).join(" or ");
  return refuse("device-absent", `there is no ${paths}`, absentRemedy(facts));
}

function checkPrefix(facts: HostFacts): Refusal | undefined {
  const { path, state, evidence, targets } = facts.prefix;
  if (state === "denied") {
    return refuse(
      "prefix-denied",
      `${path}: ${evidence}`,
      "run as root (sudo), or name a folder of yours with --prefix",
    );
  }
  if (state === "not-a-folder") {
    return refuse("prefix-blocked", `${path}: ${evidence}`, "name another folder with --prefix");
  }
  const blocked = targets.find((target) => target.state === "not-a-file");
  if (!blocked) return undefined;
  return refuse(
    "prefix-blocked",
    `${join(path, blocked.target)} is in the way: not an ordinary file`,
    "move it away, or name another folder with --prefix",
  );
}

function steps(facts: HostFacts, prefix: string): Step[] {
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

/**
 * Decides what to do. The steps leave out what is already as it should be, so a second installation of the same
 * version has none and only runs the payload.
 */
export function plan(facts: HostFacts, wishes: Wishes): Plan | Refusal {
  const host = checkHost(facts);
  if (host) return host;
  const device = chooseDevice(facts, wishes);
  if ("kind" in device) return device;
  const prefix = checkPrefix(facts);
  if (prefix) return prefix;
  const replaced = facts.prefix.targets.filter((target) => target.state === "foreign");
  const notes = replaced.map(
    (target) =>
      `${join(wishes.prefix, target.target)} is replaced; \`kontain uninstall\` brings back what was there`,
  );
  const version = facts.bundle.version;
  return {
    kind: "plan",
    version,
    prefix: wishes.prefix,
    device: device.path,
    steps: steps(facts, wishes.prefix),
    notes,
  };
}
