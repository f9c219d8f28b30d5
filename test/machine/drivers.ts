// SPDX-License-Identifier: Apache-2.0
// One suite, every driver: a test written with `onEachDriver` runs once on each device of this machine that works.
import test, { type ExecutionContext } from "ava";
import { type Driver, type Machine, native, type Registers, type Vcpu } from "../../src/monitor/native.js";
import { skipReason } from "../helpers/device.js";

const USABLE = native()
  .probeDrivers()
  .filter((probe) => probe.usable);

if (USABLE.length === 0) {
  test("a virtualization device is needed for this suite", (t) => {
    t.fail(
      native()
        .probeDrivers()
        .map((probe) => probe.error?.message)
        .join("; "),
    );
  });
}

/** What a test gets: a driver, and a machine that is destroyed when the test ends. */
export interface Setting {
  driver: Driver;
  machine: Machine;
  /** Puts code into memory of its own, readable and executable, and returns its address. */
  place(...code: (number | number[] | Uint8Array)[]): bigint;
  /** A vCPU that stands at `code`, on a stack of 16 KiB, with these registers. */
  at(code: bigint, registers?: Partial<Registers>): Vcpu;
}

function settingOn(path: string): Setting {
  const driver = native().openDriver(path);
  const machine = driver.createMachine();
  let stack: bigint | undefined;
  return {
    driver,
    machine,
    place(...parts) {
      const bytes = parts.flatMap((part) => (typeof part === "number" ? [part] : [...part]));
      const memory = machine.mapMemory({ size: (bytes.length + 4095) & ~4095, access: "rx" });
      new Uint8Array(memory.buffer).set(bytes);
      return memory.address;
    },
    at(code, registers = {}) {
      stack ??= machine.mapMemory({ size: 16384 }).address + 16384n;
      const vcpu = machine.createVcpu();
      vcpu.registers = { rip: code, rsp: stack, ...registers };
      return vcpu;
    },
  };
}

type Body = (t: ExecutionContext, setting: Setting) => Promise<void> | void;

/** Declares `title` for every driver found here, less what test/helpers/skipped.ts lists with a reason. */
export function onEachDriver(title: string, body: Body): void {
  for (const probe of USABLE) {
    const reason = skipReason("machine", title, probe.kind);
    const name = `${probe.path}: ${title}`;
    if (reason !== undefined) {
      test.skip(`${name} (${reason})`, () => {});
      continue;
    }
    test.serial(name, async (t) => {
      const setting = settingOn(probe.path);
      try {
        await body(t, setting);
      } finally {
        setting.machine.destroy();
        setting.driver.close();
      }
    });
  }
}

/** 64-bit number as little-endian bytes. */
export function qword(value: bigint): number[] {
  return [...new Uint8Array(new BigUint64Array([value]).buffer)];
}

const REGISTER_NUMBERS = { rax: 0, rcx: 1, rdx: 2, rbx: 3, rsi: 6, rdi: 7 };

/** `movabs $value, %reg` */
export function load(register: keyof typeof REGISTER_NUMBERS, value: bigint): number[] {
  return [0x48, 0xb8 + REGISTER_NUMBERS[register], ...qword(value)];
}

export const SYSCALL = [0x0f, 0x05];
export const UD2 = [0x0f, 0x0b];
/** `jmp .` */
export const SPIN = [0xeb, 0xfe];
