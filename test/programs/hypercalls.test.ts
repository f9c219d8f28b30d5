// SPDX-License-Identifier: Apache-2.0
// Payloads that speak the original's hypercall ABI: `out` from CPL 3, block at gs:0. They do not run natively, so what
// they must print stands here.
import test, { type ExecutionContext } from "ava";
import { DEVICE_OPTIONS } from "../helpers/device.js";
import { inScratch, KM } from "../helpers/paths.js";
import { buildPayloads, payload } from "../helpers/payloads.js";
import { here, type Outcome } from "../helpers/place.js";

test.before(async (t) => {
  t.timeout(600_000);
  const complaint = await buildPayloads();
  if (complaint) t.log(complaint);
});

function run(options: readonly string[], name: string, ...args: string[]): Promise<Outcome> {
  return inScratch((cwd) =>
    here.run({
      command: [
        KM,
        "-k",
        `${cwd}/km.log`,
        ...DEVICE_OPTIONS,
        ...options,
        payload(`hypercall/${name}`),
        ...args,
      ],
      cwd,
      seconds: 120,
    }),
  );
}

function prints(t: ExecutionContext, outcome: Outcome, status: number, expected: readonly string[]): void {
  t.deepEqual(outcome.stdout.toString().trimEnd().split("\n"), expected);
  t.is(outcome.stderr, "");
  t.is(outcome.status, status);
}

test("ordinary calls", async (t) => {
  prints(t, await run([], "calls", "a", "b"), 3, [
    "hello from a hypercall",
    "arguments: 3",
    "12345",
    "write's result: 6",
    "registers changed: 0",
    "rax afterwards: 4711",
    "same pid by both ways: 1",
    "argument words kept: 1",
    "bad descriptor: -9",
    "bad pointer: -14",
    "no such call: -38",
    "a thousand calls: 1000",
  ]);
});

test("threads", async (t) => {
  prints(t, await run([], "threads"), 0, [
    "threads started: 3",
    "calls made: 600",
    "own id and own tls: 3",
    "calls after fifty more: 10600",
    "its stack is gone: -14",
  ]);
});

test("fork and wait", async (t) => {
  prints(t, await run([], "processes"), 9, ["child", "waited for the child: 1", "status: 9"]);
});

test("signals", async (t) => {
  prints(t, await run([], "signals"), 0, [
    "sigaction: 0",
    "handled: 100",
    "last: 10",
    "pipe: 0",
    "sigaction: 0",
    "interrupted read: -4",
    "sigaction: 0",
    "restarted read: 1",
    "handled: 102",
  ]);
});

const WRONG: readonly (readonly [string, string, string])[] = [
  ["p", "a port above the table", "SIGBUS"],
  ["n", "a port below it", "SIGBUS"],
  ["b", "one byte", "SIGBUS"],
  ["w", "two bytes", "SIGBUS"],
  ["i", "in instead of out", "SIGBUS"],
  ["s", "string input", "SIGBUS"],
  ["z", "a block at nowhere", "SIGSEGV"],
  ["c", "a block at a non-canonical address", "SIGSEGV"],
  ["r", "a block that cannot be written", "SIGSEGV"],
];

for (const [letter, what, signal] of WRONG) {
  test(`wrong call: ${what}`, async (t) => {
    const outcome = await run([], "wrong", letter);
    t.is(outcome.status, signal);
    t.is(outcome.stdout.toString(), "", "it did not go on");
    t.regex(outcome.stderr, /^km: .*wrong: killed by signal \d+ \([A-Z][a-z ]+\),.*\n$/, "one line says why");
  });
}

test("a number without a handler", async (t) => {
  prints(t, await run([], "wrong", "u"), 0, ["result: -38", "went on"]);
  const killed = await run(["--kill-unimpl-scall"], "wrong", "u");
  t.is(killed.status, "SIGSYS");
});
