// SPDX-License-Identifier: Apache-2.0
// Objects may go in any order, at any time, on any thread; wrong use is a typed error.
import { readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";
import test from "ava";
import { execaNode } from "execa";
import { native } from "../../src/monitor/native.js";
import { onEachDriver, SPIN, UD2 } from "./drivers.js";

const SPINNER = fileURLToPath(new URL("./spinner.mjs", import.meta.url));
/** Without the loader this process was started with. */
const ALONE = { reject: false, timeout: 60_000, nodeOptions: [] as string[] };
const DESTROYED = { name: "DriverError", code: "ERR_KM_DESTROYED" };

onEachDriver("destroy() under running vCPUs rejects their runs", async (t, { machine, place, at }) => {
  const code = place(SPIN);
  const vcpus = [at(code), at(code), at(code)];
  const runs = vcpus.map((vcpu) => vcpu.run());
  await sleep(20);
  machine.destroy();
  for (const run of runs) await t.throwsAsync(run, DESTROYED);
  t.true(machine.destroyed);
  await t.throwsAsync(async () => vcpus[0]?.run(), DESTROYED);
  t.throws(() => vcpus[0]?.registers, DESTROYED);
  t.throws(() => machine.createVcpu(), DESTROYED);
  t.throws(() => machine.mapMemory({ size: 4096 }), DESTROYED);
  t.notThrows(() => machine.destroy());
});

onEachDriver(
  "a vCPU outlives its driver object, and memory its machine",
  async (t, { driver, machine, place, at }) => {
    const memory = machine.mapMemory({ size: 4096 });
    const vcpu = at(place([0x88, 0x07], UD2), { rdi: memory.address, rax: 9n });
    driver.close();
    t.throws(() => driver.createMachine(), { code: "ERR_KM_CLOSED" });
    t.like(await vcpu.run(), { kind: "exception", vector: 6 });
    machine.destroy();
    t.is(new Uint8Array(memory.buffer)[0], 9);
  },
);

onEachDriver("a running vCPU can only be kicked", async (t, { place, at }) => {
  const vcpu = at(place(SPIN));
  const run = vcpu.run();
  const busy = { name: "DriverError", code: "ERR_KM_BUSY", message: /await its run/ };
  t.throws(() => vcpu.registers, busy);
  t.throws(() => {
    vcpu.registers = { rax: 1n };
  }, busy);
  t.throws(() => vcpu.xstate, busy);
  await t.throwsAsync(vcpu.run(), busy);
  vcpu.kick();
  await run;
});

onEachDriver("a vCPU disposed of while it runs rejects", async (t, { place, at }) => {
  const vcpu = at(place(SPIN));
  const run = vcpu.run();
  await sleep(5);
  vcpu.dispose();
  await t.throwsAsync(run, DESTROYED);
  t.notThrows(() => vcpu.dispose());
});

onEachDriver("memory: what is refused, and how", (t, { machine }) => {
  const { start, end } = machine.window;
  const memory = machine.mapMemory({ size: 8192 });
  const code = (name: string) => ({ name: "DriverError", code: name });
  t.throws(() => machine.mapMemory({ size: 0 }), code("ERR_KM_ALIGNMENT"));
  t.throws(() => machine.mapMemory({ size: 4095 }), code("ERR_KM_ALIGNMENT"));
  t.throws(() => machine.mapMemory({ size: 4096, address: end }), code("ERR_KM_WINDOW"));
  t.throws(() => machine.mapMemory({ size: end - start + 4096n }), code("ERR_KM_WINDOW"));
  t.throws(() => machine.mapMemory({ size: 4096, address: start - 4096n }), code("ERR_KM_WINDOW"));
  t.throws(() => machine.mapMemory({ size: 4096, address: memory.address }), {
    name: "DriverError",
    code: "EEXIST",
    message: /mmap/,
  });
  t.throws(() => machine.mapMemory({ size: 4096, address: 0x400000n }), code("EEXIST"), "node's own code");
  t.throws(() => machine.protect(memory.address, 12288, "r"), code("ERR_KM_NOT_MAPPED"));
  t.throws(() => machine.protect(memory.address + 1n, 4096, "r"), code("ERR_KM_ALIGNMENT"));
  t.throws(() => machine.protect(0x400000n, 4096, "rwx"), code("ERR_KM_NOT_MAPPED"));
  t.throws(() => machine.unmap(memory.address + 4096n), code("ERR_KM_NOT_MAPPED"));
  t.throws(() => machine.setBreakpoint(0x400000n), code("ERR_KM_NOT_MAPPED"));
  t.throws(() => machine.clearBreakpoint(memory.address), code("ERR_KM_NO_BREAKPOINT"));
});

onEachDriver("arguments of the wrong kind are TypeErrors", (t, { driver, machine, place, at }) => {
  const wrong = { instanceOf: TypeError, code: "ERR_KM_ARGUMENT" };
  const vcpu = at(place(UD2));
  const any = (value: unknown) => value as never;
  t.throws(() => machine.mapMemory(any(undefined)), wrong);
  t.throws(() => machine.mapMemory({ size: -4096 }), wrong);
  t.throws(() => machine.mapMemory({ size: 4096.5 }), wrong);
  t.throws(() => machine.mapMemory({ size: 4096, access: any("wx") }), wrong);
  t.throws(() => machine.mapMemory({ size: 4096, address: 1n << 64n }), wrong);
  t.throws(() => machine.protect(any("x"), 4096, "r"), wrong);
  t.throws(() => driver.createMachine({ physBits: 5 }), wrong);
  for (const value of [{ eax: 1n }, { rax: -1n }, { rax: "1" }, 7, null]) {
    t.throws(
      () => {
        vcpu.registers = any(value);
      },
      wrong,
      String(value),
    );
  }
  t.throws(() => {
    vcpu.xstate = new Uint8Array(3);
  }, wrong);
  t.throws(() => {
    vcpu.bases = { fs: 0x8000_0000_0000_0000n, gs: 0n };
  }, wrong);
  const { Machine, Vcpu } = native();
  t.throws(() => new (Machine as unknown as new () => object)(), wrong);
  t.throws(() => new (Vcpu as unknown as new () => object)(), wrong);
});

test("a device that is not there, and one that is none", (t) => {
  t.throws(() => native().openDriver("/dev/kontain-absent"), {
    name: "DriverError",
    code: "ENOENT",
    message: "ENOENT: No such file or directory, open '/dev/kontain-absent'",
  });
  const error = t.throws(() => native().openDriver("/dev/null"), { name: "DriverError" });
  t.like(error, { code: "ENODEV", device: "/dev/null", syscall: "KVM_GET_API_VERSION" });
});

/** Descriptors of this process that belong to machines. */
function machineDescriptors(): number {
  return readdirSync("/proc/self/fd").filter((fd) => Number(fd) >= 1000).length;
}

onEachDriver("what JavaScript forgets is freed", async (t, { driver }) => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const make = async () => {
    const machine = driver.createMachine();
    const memory = machine.mapMemory({ size: 4096, access: "rx" });
    new Uint8Array(memory.buffer).set(UD2);
    const vcpu = machine.createVcpu();
    vcpu.registers = { rip: memory.address };
    await vcpu.run();
  };
  const settle = async () => {
    for (let i = 0; i < 5; i++) {
      collect();
      await sleep(10);
    }
    return machineDescriptors();
  };
  const before = await settle();
  for (let i = 0; i < 30; i++) await make();
  t.true(machineDescriptors() > before, "nothing is freed while the test runs: it could not fail");
  t.is(await settle(), before);
});

onEachDriver("a worker that is terminated takes its running machine along", async (t, { driver }) => {
  const threads = () => readdirSync("/proc/self/task").length;
  const before = machineDescriptors();
  for (let i = 0; i < 3; i++) {
    const worker = new Worker(SPINNER, { workerData: { device: driver.path, vcpus: 2 }, execArgv: [] });
    await new Promise((ready) => worker.once("message", ready));
    const during = threads();
    await worker.terminate();
    t.true(threads() < during, "its threads are gone");
  }
  t.true(machineDescriptors() <= before, "earlier tests' garbage may have gone meanwhile");
});

onEachDriver("process.exit() with running vCPUs exits, with its status", async (t, { driver }) => {
  const result = await execaNode(SPINNER, [driver.path, "exit"], ALONE);
  t.is(result.exitCode, 7);
  t.is(result.stderr, "");
});

onEachDriver("nothing keeps a process alive but runs in flight", async (t, { driver }) => {
  const result = await execaNode(SPINNER, [driver.path, "idle"], ALONE);
  t.is(result.exitCode, 0);
  t.is(result.stderr, "");
});

onEachDriver("an uncaught signal still ends the process", async (t, { driver }) => {
  const child = execaNode(SPINNER, [driver.path, "spin"], ALONE);
  await new Promise((ready) => child.stdout.once("data", ready));
  child.kill("SIGTERM");
  t.is((await child).signal, "SIGTERM");
});
