// SPDX-License-Identifier: Apache-2.0
// The Node addon: virtualization devices, machines without a guest kernel, and their vCPUs. Payload programs do not run
// in here (node itself sits where they live) but in `km`; this is for proving devices and testing drivers.

/** Rights of guest memory. */
export type Access = "none" | "r" | "rw" | "rx" | "rwx";

/**
 * What every failure of a device looks like.
 * `code`: errno's name ("EACCES") or one of ERR_KM_DESTROYED, _BUSY, _ALIGNMENT, _WINDOW, _NOT_MAPPED, _NO_VCPU,
 * _NO_BREAKPOINT, _UNSUPPORTED, _CLOSED, _PROOF. Wrong arguments are TypeErrors with code ERR_KM_ARGUMENT.
 */
export interface DriverError extends Error {
  name: "DriverError";
  code: string;
  /** Negative errno, as in Node's system errors. */
  errno: number;
  /** The call that failed: "open", "KVM_CREATE_VM", "mmap"... */
  syscall: string;
  /** Path of the device. */
  device: string;
}

export interface Capabilities {
  /** KVM_GET_API_VERSION; 12 since 2007. */
  apiVersion: number;
  /** vCPUs a machine may have. */
  maxVcpus: number;
  /** Memory slots a machine may have. */
  maxSlots: number;
}

export interface DriverProbe {
  path: string;
  /** The path exists. */
  present: boolean;
  /** A guest of a few instructions was run on it and did what it should. */
  usable: boolean;
  /** Only when it opened. */
  kind?: "kvm" | "kkm";
  capabilities?: Capabilities;
  /** Why it is not usable. */
  error?: DriverError;
}

/** Tries /dev/kontain, /dev/kvm and /dev/kkm, in this order; blocks for a few milliseconds per device. */
export function probeDrivers(): DriverProbe[];

/** Opens exactly this device. Throws DriverError. */
export function openDriver(path: string): Driver;

export class Driver {
  private constructor();
  readonly path: string;
  readonly kind: "kvm" | "kkm";
  readonly capabilities: Capabilities;
  /** @param options.physBits guest-physical address bits, 32..62; default: what the device offers */
  createMachine(options?: { physBits?: number }): Machine;
  /** Machines made before keep working. */
  close(): void;
}

export interface GuestMemory {
  /** Guest virtual address; the window maps addresses as they are. */
  readonly address: bigint;
  /** Bytes. */
  readonly size: number;
  /** The memory itself: readable and writable whatever the guest may do, and valid after unmap() and destroy(). */
  readonly buffer: ArrayBuffer;
}

export class Machine {
  private constructor();
  readonly kind: "kvm" | "kkm";
  /** Where guest memory may be: [start, end). */
  readonly window: { start: bigint; end: bigint };
  /** State components a guest may use (SDM vol. 1, 13.3). */
  readonly xcr0: bigint;
  /** Bytes of Vcpu.xstate. */
  readonly xstateSize: number;
  readonly destroyed: boolean;
  /**
   * Gives the guest memory, zeroed.
   * @param options.size bytes, a multiple of 4096
   * @param options.address default: a free place; a given one must be free in this process too (else EEXIST)
   * @param options.access default "rw"
   */
  mapMemory(options: { size: number | bigint; address?: number | bigint; access?: Access }): GuestMemory;
  /** Changes rights inside one mapping; in force for running vCPUs when it returns. */
  protect(address: number | bigint, size: number | bigint, access: Access): void;
  /** Takes a whole mapping away from the guest. */
  unmap(address: number | bigint): void;
  /** A vCPU in the state of a fresh thread: registers zero, CPL 3. */
  createVcpu(): Vcpu;
  /**
   * Plants `int3`. A run that reaches it ends as exception 3 with `breakpoint` true and rip on the instruction; the
   * next run executes the original. While one vCPU steps over it, others may run through.
   */
  setBreakpoint(address: number | bigint): void;
  clearBreakpoint(address: number | bigint): void;
  /** Ends the machine now; runs in flight reject with ERR_KM_DESTROYED. Idempotent. */
  destroy(): void;
}

export type RegisterName =
  | "rax"
  | "rbx"
  | "rcx"
  | "rdx"
  | "rsi"
  | "rdi"
  | "rsp"
  | "rbp"
  | "r8"
  | "r9"
  | "r10"
  | "r11"
  | "r12"
  | "r13"
  | "r14"
  | "r15"
  | "rip"
  | "rflags";
export type Registers = Record<RegisterName, bigint>;

export type Exit =
  /** `syscall`: rip is behind it, rcx and r11 are clobbered as on hardware. */
  | { kind: "syscall"; number: bigint; args: [bigint, bigint, bigint, bigint, bigint, bigint] }
  /** `in` or `out`. `size` in bytes; `count` > 1 for string instructions. */
  | { kind: "io"; port: number; size: number; count: number; direction: "in" | "out" }
  /** `address` is CR2 for vector 14, the breakpoint's for `breakpoint`. */
  | { kind: "exception"; vector: number; errorCode: number; address: bigint; breakpoint: boolean }
  /** The host refused a page the guest's tables allow. `address` 0 when not known. */
  | { kind: "memoryFault"; address: bigint }
  /** After kick(). */
  | { kind: "interrupted" }
  /** Triple fault: the machine is gone. */
  | { kind: "shutdown" }
  /** The device could not run the guest. `detail`: KVM suberror or errno. */
  | { kind: "failed"; detail: number };

/** Between runs only: reading or changing state while run() is pending throws ERR_KM_BUSY. */
export class Vcpu {
  private constructor();
  /** Reads all; assigning changes those named. */
  get registers(): Registers;
  set registers(changes: Partial<Record<RegisterName, number | bigint>>);
  get bases(): { fs: bigint; gs: bigint };
  set bases(bases: { fs: number | bigint; gs: number | bigint });
  /** FP and vector state, XSAVE standard format (SDM vol. 1, 13.4), a copy. */
  get xstate(): Uint8Array;
  set xstate(image: Uint8Array);
  /** Address of the qword the guest finds at gs:0 when it did not move gs. */
  readonly cellAddress: bigint;
  readonly running: boolean;
  /** Enters the guest on a thread of its own until it leaves. Rejects with DriverError. Keeps the process alive. */
  run(): Promise<Exit>;
  /** Makes the run in flight, or else the next one, end as "interrupted". */
  kick(): void;
  /** Throws ERR_KM_UNSUPPORTED: no driver fires debug registers on every host. Use Machine.setBreakpoint(). */
  setHardwareBreakpoint(address: number | bigint): never;
  /** Gives the vCPU back; a run in flight rejects. Idempotent. */
  dispose(): void;
}
