// SPDX-License-Identifier: Apache-2.0
// The suites the lab runs on every kernel. Adding one is adding an entry here and a script in suites/.

import { buildPayloads } from "../helpers/payloads.js";
import { prepareQuick } from "../suites/quick.js";
import type { RootExtras } from "./build-root.js";
import type { GuestStyle } from "./guest.js";
import { installerSuites } from "./installer-suites.js";
import { defaultKernel, type Kernel } from "./kernels.js";
import type { Program } from "./programs.js";

export interface Suite {
  /** What --suite takes. */
  readonly name: string;
  readonly summary: string;
  readonly style: GuestStyle;
  /** At most 1 where threads run under nested SVM: two TCG CPUs stall there. */
  readonly cpus: number;
  /** Load kvm and kvm-amd. */
  readonly kvm: boolean;
  /** Environment of the script; --env goes before it. */
  readonly env?: Readonly<Record<string, string>>;
  /** Done on the host before: the guest sees what it builds, but would take an hour over it. */
  readonly prepare?: () => Promise<unknown>;
  /** Run by sh in the guest; path below the checkout. Exit 0 passes, 77 skips (last line: why), all else fails. */
  readonly script: string;
  /** Bound on the script; the boot has its own. */
  readonly timeoutSeconds: number;
  readonly memoryMiB?: number;
  /** QEMU's -cpu; default an EPYC with SVM. */
  readonly cpuModel?: string;
  /** Boot the bzImage as it is; default the kernel unpacked from it, which boots quicker but without KASLR. */
  readonly bzImage?: boolean;
  readonly kernelArgs?: readonly string[];
  /** Modules of the kernel's own package to load at boot. */
  readonly modules?: readonly string[];
  /** Further arguments of QEMU's, such as -smbios. */
  readonly qemu?: readonly string[];
  /** Out-of-tree module directories of the checkout: their .ko files are in $LAB_SUITE. A warning fails the suite. */
  readonly builtModules?: readonly string[];
  /** C programs, compiled statically: they are in $LAB_SUITE. */
  readonly programs?: readonly Program[];
  /** A root with the kernel's own release, its compiler and these packages beside it, made on the host: $LAB_USERLAND. */
  readonly userland?: RootExtras;
  /** Files of the checkout the script wants in $LAB_SUITE, executable. */
  readonly files?: readonly string[];
  /** It lets the OOM killer work: that killer's reports are no complaint. */
  readonly outOfMemory?: boolean;
  /** Count instructions instead of time: in the guest each takes a nanosecond, whatever the host does meanwhile. */
  readonly icount?: boolean;
  /** What it prints is its result and shown below the table. */
  readonly figures?: boolean;
  /** Kernels it makes sense on; default all. */
  readonly on?: (kernel: Kernel) => boolean;
}

const kvmProbe: Program = { name: "kvm-probe", sources: ["test/lab/programs/kvm-probe.c"] };

/** The programs of test/kkm, each with the code they share. */
function kkmPrograms(...names: string[]): Program[] {
  return names.map((name) => ({
    name: `kkm-${name}`,
    sources: [`test/kkm/${name}.c`, "test/kkm/machine.c"],
  }));
}

/** Ways the kernel refuses a module, each by a boot of its own; test/kkm/load.sh knows what to expect of each. */
const loadCases = [
  { name: "kkm-load", summary: "kkm/build.sh tells failures to load apart", kernelArgs: [] },
  { name: "kkm-load-locked", summary: "the same under lockdown", kernelArgs: ["lockdown=integrity"] },
  {
    name: "kkm-load-signed",
    summary: "the same where modules must be signed",
    kernelArgs: ["module.sig_enforce=1"],
  },
  {
    name: "kkm-load-noxsave",
    summary: "the module names what the machine lacks",
    kernelArgs: ["noxsave"],
  },
];

/**
 * Test files of the checkout, run in the guest on one of its devices. One CPU: threads under nested SVM stall on two.
 * @param device what km runs on; without it, the tests choose
 */
function toolkit(
  name: string,
  summary: string,
  tests: string,
  timeoutSeconds: number,
  device?: string,
): Suite {
  return {
    name,
    summary,
    style: "root",
    cpus: 1,
    kvm: true,
    builtModules: ["kkm"],
    prepare: buildPayloads,
    script: "test/lab/suites/toolkit.sh",
    env: { TOOLKIT_TESTS: tests, ...(device ? { KONTAIN_TEST_DEVICE: device } : {}) },
    timeoutSeconds,
  };
}

const PROGRAMS =
  "test/programs/programs.test.ts test/programs/hypercalls.test.ts test/programs/safety.test.ts";
const FEATURES = "test/programs/features.test.ts";
const MACHINE = "test/machine test/programs/devices.test.ts";
const SYSCALLS = "test/syscalls/syscalls.test.ts test/programs/command_line.test.ts";
const QUICK = "test/suites/quick.test.ts";

const isDefault = (kernel: Kernel) => kernel.id === defaultKernel;

const toolkitSuites: readonly Suite[] = [
  toolkit(
    "machine",
    "the driver interface on /dev/kvm (nested SVM) and /dev/kkm, side by side",
    MACHINE,
    1800,
  ),
  toolkit(
    "programs",
    "km on /dev/kkm: programs do what they do natively, safely",
    PROGRAMS,
    3600,
    "/dev/kkm",
  ),
  toolkit("features", "km on /dev/kkm: the feature payloads", FEATURES, 3600, "/dev/kkm"),
  toolkit("syscalls", "km on /dev/kkm: every system call and every option", SYSCALLS, 3600, "/dev/kkm"),
  // KVM is the kernel's: one will do.
  { ...toolkit("programs-svm", "km on /dev/kvm: as programs", PROGRAMS, 3600, "/dev/kvm"), on: isDefault },
  { ...toolkit("features-svm", "km on /dev/kvm: as features", FEATURES, 5400, "/dev/kvm"), on: isDefault },
  { ...toolkit("syscalls-svm", "km on /dev/kvm: as syscalls", SYSCALLS, 3600, "/dev/kvm"), on: isDefault },
  ...[
    toolkit("suites", "km on /dev/kkm: other people's suites, the short form", QUICK, 3600, "/dev/kkm"),
    toolkit("suites-svm", "km on /dev/kvm: as suites", QUICK, 3600, "/dev/kvm"),
  ].map((suite) => ({ ...suite, env: { ...suite.env, KONTAIN_QUICK_SUITES: "1" }, prepare: prepareQuick })),
];

/** Measurements: by the clock, and by counting instructions, which repeats whatever the host's load. */
const benchCases = [
  {
    name: "kkm-bench",
    summary: "system call and page fault: native, KVM (SVM), KKM, on one boot",
    style: "root",
    cpus: 1,
    icount: false,
    kernelArgs: [],
  },
  {
    name: "kkm-bench-count",
    summary: "the same in instructions",
    style: "root",
    cpus: 1,
    icount: true,
    kernelArgs: [],
  },
  {
    name: "kkm-pair",
    summary: "KKM's exits and faults, guest and monitor on one CPU and on two",
    style: "initramfs",
    cpus: 2,
    icount: false,
    kernelArgs: ["kkm_bench=pair"],
  },
  {
    name: "kkm-pair-count",
    summary: "the same in instructions, on one CPU", // two do not boot while QEMU counts
    style: "initramfs",
    cpus: 1,
    icount: true,
    kernelArgs: ["kkm_bench=pair"],
  },
] as const;

export const suites: readonly Suite[] = [
  {
    name: "boot",
    summary: "boots, has its file systems, powers off",
    style: "initramfs",
    cpus: 2,
    kvm: false,
    bzImage: true,
    script: "test/lab/suites/boot.sh",
    timeoutSeconds: 60,
  },
  {
    name: "kvm",
    summary: "/dev/kvm runs a guest by nested SVM",
    style: "initramfs",
    cpus: 1,
    kvm: true,
    script: "test/lab/suites/kvm.sh",
    programs: [kvmProbe],
    timeoutSeconds: 60,
  },
  {
    name: "root",
    summary: "the host's root over 9p: overlay, share, checkout, /dev/kvm",
    style: "root",
    cpus: 1,
    kvm: true,
    script: "test/lab/suites/root.sh",
    programs: [kvmProbe],
    timeoutSeconds: 120,
  },
  {
    name: "kkm",
    summary: "the KKM module: every exit, memory, lifetimes, errors, 288 vCPUs, a quiet log, OOM",
    style: "initramfs",
    cpus: 2,
    kvm: false,
    cpuModel: "max",
    script: "test/kkm/suite.sh",
    files: ["test/kkm/module.sh"],
    builtModules: ["kkm"],
    programs: kkmPrograms("checks", "memory", "ioctls", "lifetime", "tamper", "threads", "quiet", "oom"),
    outOfMemory: true,
    timeoutSeconds: 1200,
  },
  {
    name: "kkm-intel",
    summary: "every exit once more where sysenter is Intel's, valid in 64-bit code",
    style: "initramfs",
    cpus: 2,
    kvm: false,
    cpuModel: "max,vendor=GenuineIntel",
    script: "test/kkm/suite.sh",
    env: { KKM_PROGRAMS: "kkm-checks" },
    files: ["test/kkm/module.sh"],
    builtModules: ["kkm"],
    programs: kkmPrograms("checks"),
    timeoutSeconds: 120,
  },
  ...loadCases.map(
    ({ name, summary, kernelArgs }): Suite => ({
      name,
      summary,
      style: "initramfs",
      cpus: 1,
      kvm: false,
      cpuModel: "max",
      script: "test/kkm/load.sh",
      files: ["kkm/build.sh"],
      builtModules: ["kkm"],
      kernelArgs: [`kkm_load=${name}`, ...kernelArgs],
      timeoutSeconds: 60,
    }),
  ),
  ...benchCases.map(
    ({ name, summary, style, cpus, icount, kernelArgs }): Suite => ({
      name,
      summary,
      style,
      cpus,
      icount,
      kernelArgs,
      kvm: style === "root",
      ...(style === "root" ? {} : { cpuModel: "max" }),
      script: "test/kkm/bench.sh",
      files: ["test/kkm/module.sh"],
      builtModules: ["kkm"],
      programs: [{ name: "kkm-payload", sources: ["test/kkm/payload.c"] }, ...kkmPrograms("bench")],
      figures: true,
      timeoutSeconds: 400,
      on: ({ id }) => id === "6.1" || id === "6.12",
    }),
  ),
  {
    name: "kkm-fuzz",
    summary: "the KKM module under random guests and random ioctls",
    style: "initramfs",
    cpus: 2,
    kvm: false,
    cpuModel: "max",
    script: "test/kkm/fuzz.sh",
    files: ["test/kkm/module.sh"],
    builtModules: ["kkm"],
    programs: kkmPrograms("fuzz_guest", "fuzz_ioctl"),
    timeoutSeconds: 300,
  },
  ...toolkitSuites,
  ...installerSuites,
];

export function suiteByName(name: string): Suite {
  const found = suites.find((suite) => suite.name === name);
  if (found) return found;
  throw new Error(`no suite "${name}": the lab knows ${suites.map((suite) => suite.name).join(", ")}`);
}

/** Why a suite makes no sense on a kernel; undefined when it does. */
export function notApplicable(suite: Suite, kernel: Kernel): string | undefined {
  if (suite.style === "root" && !kernel.has9p) return "the cloud flavour has no 9p";
  if (suite.on && !suite.on(kernel)) return "not meant for this kernel";
  return undefined;
}
