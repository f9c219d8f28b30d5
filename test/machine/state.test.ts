// SPDX-License-Identifier: Apache-2.0
// Registers and vector state: what goes in is what the guest computes with, and what it leaves comes out.
import type { RegisterName } from "../../src/monitor/native.js";
import { onEachDriver, SYSCALL, UD2 } from "./drivers.js";

const GENERAL: RegisterName[] = [
  "rax",
  "rbx",
  "rcx",
  "rdx",
  "rsi",
  "rdi",
  "rsp",
  "rbp",
  "r8",
  "r9",
  "r10",
  "r11",
  "r12",
  "r13",
  "r14",
  "r15",
];

onEachDriver("a fresh vCPU is a fresh thread", (t, { machine }) => {
  const { rflags, ...general } = machine.createVcpu().registers;
  t.deepEqual([...new Set(Object.values(general))], [0n]);
  t.is(rflags & 0xcd5n, 0n, "no arithmetic or trap flag is set");
});

onEachDriver("general registers make the round trip", async (t, { machine, place }) => {
  const vcpu = machine.createVcpu();
  const values = Object.fromEntries(GENERAL.map((name, i) => [name, 0x0101010101010101n * BigInt(i + 0x11)]));
  const code = place([0x48, 0xf7, 0xd0], UD2); // not %rax
  vcpu.registers = { ...values, rip: code };
  await vcpu.run();
  const { rip, rflags: _, ...after } = vcpu.registers;
  t.is(rip, code + 3n);
  t.deepEqual(after, { ...values, rax: ~(values.rax ?? 0n) & 0xffff_ffff_ffff_ffffn } as typeof after);
});

onEachDriver("registers survive a syscall, but for rcx and r11", async (t, { machine, place }) => {
  const vcpu = machine.createVcpu();
  const values = Object.fromEntries(GENERAL.map((name, i) => [name, 0xf0f0f0f0f0f0f0f0n - BigInt(i)]));
  vcpu.registers = { ...values, rip: place(SYSCALL, UD2) };
  await vcpu.run();
  await vcpu.run();
  const after = vcpu.registers;
  for (const name of GENERAL.filter((reg) => reg !== "rcx" && reg !== "r11"))
    t.is(after[name], values[name] ?? -1n, name);
});

onEachDriver("flags the payload may not own stay out", async (t, { place, at }) => {
  const vcpu = at(place(UD2), { rflags: 0xffff_ffffn & ~0x100n });
  t.like(await vcpu.run(), { kind: "exception", vector: 6 });
  t.is(vcpu.registers.rflags & 0x1a_0000n, 0n, "VM, VIF and VIP are clear");
});

// XSAVE area (SDM vol. 1, 13.4): legacy region, header at 512, upper halves of ymm at 576.
const XMM = (n: number) => 160 + 16 * n;
const HEADER = 512;
const YMM_HIGH = (n: number) => 576 + 16 * n;

onEachDriver("SSE registers make the round trip", async (t, { place, at }) => {
  const vcpu = at(place([0x0f, 0x28, 0xc8], UD2)); // movaps %xmm0, %xmm1
  const image = vcpu.xstate;
  image[HEADER] = (image[HEADER] ?? 0) | 2;
  for (let i = 0; i < 16; i++) image[XMM(0) + i] = 0xa0 + i;
  vcpu.xstate = image;
  await vcpu.run();
  const after = vcpu.xstate;
  t.deepEqual([...after.slice(XMM(1), XMM(2))], [...image.slice(XMM(0), XMM(1))]);
});

onEachDriver("AVX registers make the round trip", async (t, { machine, place, at }) => {
  if (!(machine.xcr0 & 4n)) {
    t.log("this machine's CPU has no AVX");
    t.pass();
    return;
  }
  const vcpu = at(place([0xc5, 0xfc, 0x28, 0xd0], UD2)); // vmovaps %ymm0, %ymm2
  const image = vcpu.xstate;
  image[HEADER] = (image[HEADER] ?? 0) | 6;
  for (let i = 0; i < 16; i++) {
    image[XMM(0) + i] = i;
    image[YMM_HIGH(0) + i] = 0xf0 + i;
  }
  vcpu.xstate = image;
  await vcpu.run();
  const after = vcpu.xstate;
  t.deepEqual([...after.slice(XMM(2), XMM(3))], [...image.slice(XMM(0), XMM(1))]);
  t.deepEqual([...after.slice(YMM_HIGH(2), YMM_HIGH(3))], [...image.slice(YMM_HIGH(0), YMM_HIGH(1))]);
});

onEachDriver("x87 state comes out", async (t, { place, at }) => {
  const vcpu = at(place([0xd9, 0xe8], UD2)); // fld1
  await vcpu.run();
  // 1.0 in extended precision: significand 0x8000000000000000, exponent 0x3fff
  t.deepEqual([...vcpu.xstate.slice(32, 42)], [0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f]);
});

onEachDriver("FP control words start as Linux starts them", async (t, { machine, place, at }) => {
  const memory = machine.mapMemory({ size: 4096 });
  // stmxcsr (%rdi); fnstcw 4(%rdi)
  const vcpu = at(place([0x0f, 0xae, 0x1f], [0xd9, 0x7f, 0x04], UD2), { rdi: memory.address });
  await vcpu.run();
  t.is(new Uint32Array(memory.buffer)[0], 0x1f80);
  t.is(new Uint16Array(memory.buffer)[2], 0x37f);
});

onEachDriver("a vCPU that is given back leaves nothing to the next", async (t, { place, at }) => {
  const dirty = at(place([0x66, 0x0f, 0x76, 0xc0], [0xd9, 0xe8], UD2), { rbx: 0xbadn }); // pcmpeqd %xmm0, %xmm0; fld1
  await dirty.run();
  dirty.bases = { fs: 0x1234000n, gs: 0x5678000n };
  dirty.dispose();
  const vcpu = at(place(UD2));
  t.is(vcpu.registers.rbx, 0n);
  t.is(vcpu.bases.fs, 0n);
  await vcpu.run();
  const { xstate } = vcpu;
  t.is(
    xstate.slice(XMM(0), XMM(1)).reduce((sum, byte) => sum | byte),
    0,
    "xmm0 is clear",
  );
  t.is(xstate[4], 0, "the x87 stack is empty");
});

onEachDriver(
  "a breakpoint stops before its instruction, once per pass",
  async (t, { machine, place, at }) => {
    // 1: inc %rbx; dec %r12; jnz 1b; ud2
    const code = place([0x48, 0xff, 0xc3], [0x49, 0xff, 0xcc], [0x75, 0xf8], UD2);
    const vcpu = at(code, { r12: 3n });
    machine.setBreakpoint(code + 3n);
    for (const pass of [1n, 2n, 3n]) {
      t.deepEqual(await vcpu.run(), {
        kind: "exception",
        vector: 3,
        errorCode: 0,
        address: code + 3n,
        breakpoint: true,
      });
      t.is(vcpu.registers.rip, code + 3n);
      t.is(vcpu.registers.rbx, pass);
    }
    t.like(await vcpu.run(), { kind: "exception", vector: 6, breakpoint: false });
    machine.clearBreakpoint(code + 3n);
    vcpu.registers = { rip: code, r12: 2n };
    t.like(await vcpu.run(), { kind: "exception", vector: 6 });
  },
);

onEachDriver("hardware breakpoints are refused with a typed error", (t, { place, at }) => {
  const vcpu = at(place(UD2));
  t.throws(() => vcpu.setHardwareBreakpoint(0x1000n), { name: "DriverError", code: "ERR_KM_UNSUPPORTED" });
});
