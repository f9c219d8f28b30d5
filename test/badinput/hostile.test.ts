// SPDX-License-Identifier: Apache-2.0
// Payloads that misbehave: the payload dies as Linux would have it, the monitor says so in one line and is gone.
import test from "ava";
import { buildPayloads, payload } from "../helpers/payloads.js";
import { refused, trial } from "./tidy.js";

await buildPayloads();

interface Misdeed {
  readonly what: string;
  readonly args: readonly string[];
  readonly signals?: readonly string[];
}

/** Addresses of native/driver/kvm_layout.h: the entry stub, and what only CPL 0 may touch. */
const STUB = "8000008000";
const SUPERVISOR = "8000200000";

const MISDEEDS: readonly Misdeed[] = [
  { what: "jumps to 0", args: ["jump", "0"] },
  {
    what: "jumps into the entry stub with registers of its own",
    args: ["jump", STUB],
    signals: ["SIGSEGV", "SIGBUS"],
  },
  { what: "jumps to the descriptor tables", args: ["jump", SUPERVISOR] },
  { what: "jumps to the kernel half", args: ["jump", "ffffffff80000000"] },
  { what: "writes to the entry stub", args: ["store", STUB] },
  { what: "writes to the descriptor tables", args: ["store", SUPERVISOR] },
  { what: "writes to address 0", args: ["store", "0"] },
  { what: "executes hlt", args: ["hlt"] },
  { what: "executes in", args: ["in"] },
  // Linux's 32-bit door: there is no such kernel behind it here.
  { what: "executes int 0x80", args: ["int80"], signals: ["SIGSEGV", "SIGILL"] },
  { what: "loads a bad data selector", args: ["selector"] },
  { what: "loads a bad stack selector", args: ["ss"], signals: ["SIGSEGV", "SIGBUS"] },
  { what: "returns to CPL 0", args: ["far-return"] },
  { what: "has no stack", args: ["rsp", "0"] },
  { what: "has a non-canonical stack", args: ["rsp", "8000123456789000"], signals: ["SIGBUS"] },
  { what: "has its stack in the stub", args: ["rsp", "8000008080"] },
  { what: "loads descriptor tables", args: ["lidt"] },
  { what: "overflows its stack", args: ["overflow"] },
];

for (const { what, args, signals = ["SIGSEGV"] } of MISDEEDS) {
  test(`a payload that ${what}`, async (t) => {
    const verdict = await trial({ args: [payload("bad/misbehave"), ...args] });
    t.true(signals.includes(String(verdict.status)), `${verdict.status}: ${verdict.stderr}`);
    refused(t, verdict, verdict.status, /misbehave: killed by signal \d+ \([A-Z][a-z ]+\),.* at rip 0x/);
  });
}
