// SPDX-License-Identifier: Apache-2.0
// Every way a guest can leave its machine.
import { cpus } from "node:os";
import { load, onEachDriver, SPIN, SYSCALL, UD2 } from "./drivers.js";

const PAGE_FAULT = 14;
// #PF error code (SDM vol. 3, 4.7)
const PRESENT = 1;
const WRITE = 2;
const USER = 4;
const FETCH = 16;

onEachDriver("syscall leaves with number and arguments, and returns behind it", async (t, { place, at }) => {
  const code = place(SYSCALL, UD2);
  const vcpu = at(code, { rax: 231n, rdi: 1n, rsi: 2n, rdx: 3n, r10: 4n, r8: 5n, r9: 6n });
  t.deepEqual(await vcpu.run(), { kind: "syscall", number: 231n, args: [1n, 2n, 3n, 4n, 5n, 6n] });
  t.is(vcpu.registers.rip, code + 2n);
  t.is(vcpu.registers.rcx, code + 2n, "rcx holds the return address as on hardware");
  vcpu.registers = { rax: 0xfeedn };
  const next = await vcpu.run();
  t.like(next, { kind: "exception", vector: 6 });
  t.is(vcpu.registers.rax, 0xfeedn);
  t.is(vcpu.registers.rdi, 1n);
});

onEachDriver("a thousand syscalls, each answered", async (t, { place, at }) => {
  // 1: syscall; add %rax, %rbx; dec %r12; jnz 1b; ud2
  const code = place(SYSCALL, [0x48, 0x01, 0xc3], [0x49, 0xff, 0xcc], [0x75, 0xf6], UD2);
  const vcpu = at(code, { r12: 1000n });
  for (let i = 0n; i < 1000n; i++) {
    t.is((await vcpu.run()).kind, "syscall");
    vcpu.registers = { rax: i };
  }
  t.like(await vcpu.run(), { kind: "exception", vector: 6 });
  t.is(vcpu.registers.rbx, (999n * 1000n) / 2n);
});

onEachDriver(
  "out to a hypercall port leaves with the port, and settles behind it",
  async (t, { place, at }) => {
    const code = place([0xef], UD2); // out %eax, (%dx)
    for (const port of [0x8000, 0x8001, 0x81ff]) {
      const vcpu = at(code, { rdx: BigInt(port), rax: 7n });
      t.deepEqual(await vcpu.run(), { kind: "io", port, size: 4, count: 1, direction: "out" });
      t.is(vcpu.registers.rip, code + 1n);
      t.like(await vcpu.run(), { kind: "exception", vector: 6 });
      vcpu.dispose();
    }
  },
);

onEachDriver("in from a hypercall port is told apart from out", async (t, { place, at }) => {
  const vcpu = at(place([0xed], UD2), { rdx: 0x8005n });
  t.like(await vcpu.run(), { kind: "io", port: 0x8005, size: 4, direction: "in" });
});

onEachDriver("a port outside the hypercall range reaches no device", async (t, { place, at }) => {
  const code = place([0xef]);
  const vcpu = at(code, { rdx: 0x60n });
  t.like(await vcpu.run(), { kind: "exception", vector: 13, errorCode: 0 });
  t.is(vcpu.registers.rip, code);
});

onEachDriver("the interrupt flag is not the guest's", async (t, { place, at }) => {
  for (const instruction of [0xfa, 0xfb]) {
    const code = place(instruction); // cli, sti
    t.like(await at(code).run(), { kind: "exception", vector: 13, errorCode: 0 });
  }
});

onEachDriver("the processor's number is read by lsl, as the vdso does", async (t, { place, at }) => {
  // mov $0x7b, %eax; lsl %eax, %ebx; ud2: sets ZF and leaves node << 12 | processor
  const vcpu = at(place([0xb8, 0x7b, 0, 0, 0], [0x0f, 0x03, 0xd8], UD2), { rbx: 0xdeadbeefn });
  t.like(await vcpu.run(), { kind: "exception", vector: 6 });
  t.true((vcpu.registers.rbx & 0xfffn) < BigInt(cpus().length), `0x${vcpu.registers.rbx.toString(16)}`);
});

const FAULTS: { name: string; code: number[]; vector: number; behind: bigint }[] = [
  { name: "#UD of ud2", code: UD2, vector: 6, behind: 0n },
  { name: "#DE of a division by zero", code: [0x48, 0xf7, 0xf1], vector: 0, behind: 0n }, // div %rcx
  { name: "#BP of int3", code: [0xcc], vector: 3, behind: 1n },
  { name: "#GP of hlt", code: [0xf4], vector: 13, behind: 0n },
  { name: "#GP of xsetbv", code: [0x0f, 0x01, 0xd1], vector: 13, behind: 0n },
];

for (const fault of FAULTS) {
  onEachDriver(`${fault.name} has the right vector and rip`, async (t, { place, at }) => {
    const code = place([0x90], fault.code, SPIN);
    const vcpu = at(code);
    t.deepEqual(await vcpu.run(), {
      kind: "exception",
      vector: fault.vector,
      errorCode: 0,
      address: 0n,
      breakpoint: false,
    });
    t.is(vcpu.registers.rip, code + 1n + fault.behind);
  });
}

onEachDriver("the trap flag steps one instruction at a time", async (t, { place, at }) => {
  const code = place([0x90, 0x90, 0x90], UD2);
  const vcpu = at(code, { rflags: 0x102n });
  for (const step of [1n, 2n, 3n]) {
    t.like(await vcpu.run(), { kind: "exception", vector: 1 });
    t.is(vcpu.registers.rip, code + step);
  }
});

const MEMORY_FAULTS = [
  { name: "read of nothing", access: "none", code: [0x8a, 0x07], error: USER }, // mov (%rdi), %al
  { name: "write to nothing", access: "none", code: [0x88, 0x07], error: USER | WRITE }, // mov %al, (%rdi)
  { name: "jump to nothing", access: "none", code: [0xff, 0xe7], error: USER | FETCH }, // jmp *%rdi
  { name: "write to read-only memory", access: "r", code: [0x88, 0x07], error: USER | WRITE | PRESENT },
  { name: "write to code", access: "rx", code: [0x88, 0x07], error: USER | WRITE | PRESENT },
  { name: "jump into read-only data", access: "r", code: [0xff, 0xe7], error: USER | FETCH | PRESENT },
  { name: "jump into writable data", access: "rw", code: [0xff, 0xe7], error: USER | FETCH | PRESENT },
] as const;

for (const fault of MEMORY_FAULTS) {
  onEachDriver(`${fault.name}: exact address and error code`, async (t, { machine, place, at }) => {
    const code = place([...fault.code]);
    const memory = machine.mapMemory({ size: 3 * 4096, access: "rw" });
    machine.protect(memory.address + 4096n, 4096, fault.access);
    const target = memory.address + 4096n + 0x123n;
    const vcpu = at(code, { rdi: target });
    t.deepEqual(await vcpu.run(), {
      kind: "exception",
      vector: PAGE_FAULT,
      errorCode: fault.error,
      address: target,
      breakpoint: false,
    });
    const jumped = (fault.error & FETCH) !== 0;
    t.is(vcpu.registers.rip, jumped ? target : code);
    // The neighbours are as they were.
    vcpu.registers = { rip: place([0x88, 0x07], UD2), rdi: memory.address };
    t.like(await vcpu.run(), { kind: "exception", vector: 6 });
  });
}

onEachDriver("a fault is survivable: memory appears and the instruction succeeds", async (t, setting) => {
  const { machine, place, at } = setting;
  const memory = machine.mapMemory({ size: 4096, access: "none" });
  const vcpu = at(place([0x88, 0x07], UD2), { rdi: memory.address + 5n, rax: 0x5an });
  t.like(await vcpu.run(), { kind: "exception", vector: PAGE_FAULT, address: memory.address + 5n });
  machine.protect(memory.address, 4096, "rw");
  t.like(await vcpu.run(), { kind: "exception", vector: 6 });
  t.is(new Uint8Array(memory.buffer)[5], 0x5a);
});

onEachDriver("addresses outside the window are never there", async (t, { machine, place, at }) => {
  const code = place([0x8a, 0x07]);
  for (const address of [0n, 0x1000n, machine.window.end, 0x7fff_ffff_f000n]) {
    const vcpu = at(code, { rdi: address });
    const exit = await vcpu.run();
    t.like(exit, { kind: "exception", vector: PAGE_FAULT, address }, `0x${address.toString(16)}`);
    vcpu.dispose();
  }
});

onEachDriver("kernel addresses cannot be read", async (t, { place, at }) => {
  // One in Linux's direct map, one in this machine's own supervisor area.
  for (const address of [0xffff_8880_0000_0000n, 0x80_0020_0000n]) {
    const vcpu = at(place([0x8a, 0x07]), { rdi: address });
    t.like(await vcpu.run(), { kind: "exception", vector: PAGE_FAULT, address });
    vcpu.dispose();
  }
});

onEachDriver("a rip that is no address is a general protection fault", async (t, { place, at }) => {
  const vcpu = at(place(UD2), { rip: 0x8000_0000_0000_0000n });
  t.like(await vcpu.run(), { kind: "exception", vector: 13 });
});

onEachDriver("the guest reads its own thread pointer", async (t, { machine, place, at }) => {
  const memory = machine.mapMemory({ size: 4096 });
  new BigUint64Array(memory.buffer)[2] = 0x1122334455667788n;
  // mov %fs:0x10, %rax; ud2
  const vcpu = at(place([0x64, 0x48, 0x8b, 0x04, 0x25, 0x10, 0, 0, 0], UD2));
  vcpu.bases = { fs: memory.address, gs: vcpu.cellAddress };
  t.like(await vcpu.run(), { kind: "exception", vector: 6 });
  t.is(vcpu.registers.rax, 0x1122334455667788n);
  t.deepEqual(vcpu.bases, { fs: memory.address, gs: vcpu.cellAddress });
});

onEachDriver("load() of this suite loads what it says", async (t, { place, at }) => {
  const vcpu = at(place(load("rsi", 0x0102030405060708n), UD2));
  await vcpu.run();
  t.is(vcpu.registers.rsi, 0x0102030405060708n);
});
