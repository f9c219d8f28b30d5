// SPDX-License-Identifier: Apache-2.0
// The QEMU process of a guest: its command line and its life.

import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { Unavailable } from "./errors.js";

export interface Machine {
  /** A bzImage, or a vmlinux with a PVH entry. */
  readonly kernel: string;
  readonly initramfs: string;
  readonly cpus: number;
  readonly memoryMiB: number;
  /** QEMU's -cpu. */
  readonly cpuModel: string;
  /** One instruction is one nanosecond of the guest's time. */
  readonly icount?: boolean;
  /** Appended to the kernel command line. */
  readonly kernelArgs: readonly string[];
  /** Host directories offered over 9p, by mount tag. */
  readonly shares: readonly Share[];
  /** Unix socket the virtio-serial port connects to. */
  readonly socket: string;
  readonly consolePath: string;
  /** Further arguments of QEMU's. */
  readonly extra?: readonly string[];
}

export interface Share {
  readonly tag: string;
  readonly path: string;
  readonly readonly: boolean;
}

/** SVM with nested paging under TCG, enough for kvm_amd to offer /dev/kvm in the guest. */
export const nestedSvmCpu = "EPYC,+svm,+npt";

function onPath(program: string): string | undefined {
  const directories = [...(process.env.PATH ?? "").split(delimiter), "/usr/bin", "/usr/sbin"];
  return directories
    .map((directory) => join(directory, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

export function qemuPath(): string {
  const path = process.env.KONTAIN_LAB_QEMU || onPath("qemu-system-x86_64");
  if (path) return path;
  throw new Unavailable(
    "qemu-system-x86_64 is missing: apt-get install --no-install-recommends qemu-system-x86",
  );
}

// A comma inside a QEMU option value is written twice.
const quote = (value: string) => value.replaceAll(",", ",,");

const commonKernelArgs: readonly string[] = [
  ...["console=ttyS0", "loglevel=6", "panic=-1", "oops=panic", "random.trust_cpu=on"],
  // On a loaded host an emulated processor stands still for seconds; the kernel must not take that for broken hardware
  // ("IO-APIC + timer doesn't work!") or for a lockup of its own.
  ...["no_timer_check", "watchdog_thresh=30", "rcupdate.rcu_cpu_stall_timeout=60"],
];

/** q35, because the microvm machine hangs with Debian's kernels at interrupt set-up. */
export function qemuArguments(machine: Machine): string[] {
  const shares = machine.shares.flatMap(({ tag, path, readonly }) => [
    "-fsdev",
    `local,id=${tag},path=${quote(path)},security_model=none,multidevs=remap,readonly=${readonly ? "on" : "off"}`,
    "-device",
    `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`,
  ]);
  return [
    ...["-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot"],
    ...["-machine", "q35", "-cpu", machine.cpuModel],
    // counting needs the processors to take turns in one thread
    ...(machine.icount
      ? ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]
      : ["-accel", "tcg,thread=multi"]),
    ...["-smp", String(machine.cpus), "-m", String(machine.memoryMiB)],
    ...["-kernel", machine.kernel, "-initrd", machine.initramfs],
    ...["-append", [...commonKernelArgs, ...machine.kernelArgs].join(" ")],
    ...["-chardev", `file,id=console,path=${quote(machine.consolePath)}`, "-serial", "chardev:console"],
    ...["-device", "virtio-serial-pci", "-chardev", `socket,id=lab,path=${quote(machine.socket)}`],
    ...["-device", "virtserialport,chardev=lab,name=lab"],
    ...shares,
    ...(machine.extra ?? []),
  ];
}

/**
 * Starts QEMU. Where setpriv(1) is there, the kernel kills QEMU when this process dies, however it dies.
 * Its standard error is a pipe; everything else is closed.
 */
export function startQemu(machine: Machine): ChildProcess {
  const qemu = qemuPath();
  const setpriv = onPath("setpriv");
  const command = [...(setpriv ? [setpriv, "--pdeathsig", "KILL"] : []), qemu, ...qemuArguments(machine)];
  return spawn(command[0] as string, command.slice(1), { stdio: ["ignore", "ignore", "pipe"] });
}
