// SPDX-License-Identifier: Apache-2.0
// Several vCPUs, memory that changes under them, kicks.
import { setTimeout as sleep } from "node:timers/promises";
import { onEachDriver, SPIN, UD2 } from "./drivers.js";

onEachDriver("a kick ends a spinning run, and the guest goes on afterwards", async (t, { place, at }) => {
  const code = place([0x48, 0xff, 0xc3], [0xeb, 0xfb]); // 1: inc %rbx; jmp 1b
  const vcpu = at(code);
  let before = 0n;
  for (let i = 0; i < 20; i++) {
    const run = vcpu.run();
    await sleep(2);
    t.true(vcpu.running);
    vcpu.kick();
    t.deepEqual(await run, { kind: "interrupted" });
    const { rbx, rip } = vcpu.registers;
    t.true(rbx >= before);
    t.true(rip === code || rip === code + 3n);
    before = rbx;
  }
  t.true(before > 0n, "it made progress");
});

onEachDriver("a kick between runs counts for the next", async (t, { place, at }) => {
  const vcpu = at(place(SPIN));
  vcpu.kick();
  t.deepEqual(await vcpu.run(), { kind: "interrupted" });
});

onEachDriver("kicks never lose or repeat a syscall", async (t, { place, at }) => {
  // 1: inc %rbx; syscall; jmp 1b
  const vcpu = at(place([0x48, 0xff, 0xc3], [0x0f, 0x05], [0xeb, 0xf9]));
  let calls = 0n;
  let kicks = 0;
  const deadline = Date.now() + 20_000;
  while ((calls < 300n || kicks < 30) && Date.now() < deadline) {
    if (calls % 3n === 0n) setImmediate(() => vcpu.kick());
    const exit = await vcpu.run();
    if (exit.kind === "interrupted") kicks++;
    else if (exit.kind === "syscall") {
      calls++;
      t.is(vcpu.registers.rbx, calls);
    } else t.fail(exit.kind);
  }
  t.true(kicks > 0);
});

onEachDriver("sixteen vCPUs add to one counter", async (t, { machine, place }) => {
  const memory = machine.mapMemory({ size: 4096 });
  const code = place([0xf0, 0x48, 0xff, 0x07], [0x48, 0xff, 0xce], [0x75, 0xf7], UD2); // lock incq (%rdi); dec %rsi; jnz
  const vcpus = Array.from({ length: 16 }, () => machine.createVcpu());
  for (const vcpu of vcpus) vcpu.registers = { rip: code, rdi: memory.address, rsi: 20_000n };
  const exits = await Promise.all(vcpus.map((vcpu) => vcpu.run()));
  for (const exit of exits) t.like(exit, { kind: "exception", vector: 6 });
  t.is(new BigUint64Array(memory.buffer)[0], 16n * 20_000n);
});

onEachDriver(
  "all vCPUs a machine has, and an error for one more",
  async (t, { driver, machine, place, at }) => {
    const code = place(UD2);
    const vcpus = Array.from({ length: driver.capabilities.maxVcpus }, () => at(code));
    t.throws(() => machine.createVcpu(), { name: "DriverError", code: "ERR_KM_NO_VCPU" });
    const last = vcpus.at(-1);
    t.like(await last?.run(), { kind: "exception", vector: 6 });
    last?.dispose();
    t.notThrows(() => at(code), "one given back can be had again");
  },
);

const SHRINKS = [
  { to: "r", error: 7 },
  { to: "none", error: 6 },
] as const;

for (const { to, error } of SHRINKS) {
  onEachDriver(`protect to "${to}" stops running writers at once`, async (t, { machine, place }) => {
    const memory = machine.mapMemory({ size: 8192 });
    const words = new BigUint64Array(memory.buffer);
    const code = place([0x48, 0xff, 0xc0], [0x48, 0x89, 0x07], [0xeb, 0xf8]); // 1: inc %rax; mov %rax, (%rdi); jmp 1b
    const targets = [memory.address + 4096n, memory.address + 4096n + 64n];
    const runs = targets.map((rdi) => {
      const vcpu = machine.createVcpu();
      vcpu.registers = { rip: code, rdi };
      return vcpu.run();
    });
    while (words[512] === 0n || words[520] === 0n) await sleep(1);
    machine.protect(memory.address + 4096n, 4096, to);
    const seen = [words[512], words[520]];
    await sleep(20);
    t.deepEqual([words[512], words[520]], seen, "no write after protect() returned");
    const exits = await Promise.all(runs);
    exits.forEach((exit, i) => {
      t.like(exit, { kind: "exception", vector: 14, errorCode: error, address: targets[i] });
    });
  });
}

onEachDriver("taking execution away stops running code at once", async (t, { machine, at }) => {
  const memory = machine.mapMemory({ size: 4096, access: "rx" });
  new Uint8Array(memory.buffer).set(SPIN);
  const run = at(memory.address).run();
  await sleep(20);
  machine.protect(memory.address, 4096, "r");
  t.like(await run, { kind: "exception", vector: 14, errorCode: 0x15, address: memory.address });
});

onEachDriver(
  "unmap under a running reader is a page fault, and the view stays",
  async (t, { machine, place, at }) => {
    const memory = machine.mapMemory({ size: 4096 });
    const run = at(place([0x8a, 0x07], [0xeb, 0xfc]), { rdi: memory.address + 7n }).run(); // 1: mov (%rdi), %al; jmp 1b
    await sleep(20);
    machine.unmap(memory.address);
    t.like(await run, { kind: "exception", vector: 14, errorCode: 4, address: memory.address + 7n });
    new Uint8Array(memory.buffer)[7] = 1;
  },
);

onEachDriver("rights of one page among five hundred", async (t, { machine, place, at }) => {
  // Splits a large page and joins it again: the neighbours must not notice.
  const memory = machine.mapMemory({ size: 4 << 20, access: "rw" });
  const writer = place([0x88, 0x07], UD2);
  const page = memory.address + (2n << 20n);
  for (const access of ["r", "rw", "none", "rw"] as const) {
    machine.protect(page, 4096, access);
    for (const [rdi, vector] of [
      [page - 1n, 6],
      [page, access === "rw" ? 6 : 14],
      [page + 4096n, 6],
    ] as const) {
      const vcpu = at(writer, { rdi });
      t.like(await vcpu.run(), { kind: "exception", vector }, `${access} at ${rdi - page}`);
      vcpu.dispose();
    }
  }
});

onEachDriver("16 MiB are all there", async (t, { machine, place, at }) => {
  const memory = machine.mapMemory({ size: 16 << 20 });
  // 1: mov %rdi, (%rdi); add $4096, %rdi; dec %rsi; jnz 1b; ud2
  const code = place(
    [0x48, 0x89, 0x3f],
    [0x48, 0x81, 0xc7, 0, 0x10, 0, 0],
    [0x48, 0xff, 0xce],
    [0x75, 0xf1],
    UD2,
  );
  const vcpu = at(code, { rdi: memory.address, rsi: 4096n });
  t.like(await vcpu.run(), { kind: "exception", vector: 6 });
  const words = new BigUint64Array(memory.buffer);
  for (let page = 0; page < 4096; page += 97) t.is(words[page * 512], memory.address + BigInt(page) * 4096n);
});
