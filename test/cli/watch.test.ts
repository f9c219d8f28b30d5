// SPDX-License-Identifier: Apache-2.0
// The view of `kontain ps --watch`, with machines that are only told about; test/monitor/watch.test.ts has real ones.
import { setTimeout as sleep } from "node:timers/promises";
import test from "ava";
import { render } from "ink-testing-library";
import { createElement } from "react";
import { callRates, Sampler } from "../../src/cli/watch/sampler.js";
import { cut, sparkline, styleOf } from "../../src/cli/watch/style.js";
import { type Source, Watch } from "../../src/cli/watch/view.js";
import type { RunningMachine, SilentMachine } from "../../src/monitor/registry.js";

const PLAIN = { color: false, unicode: true };
const ARROW = { up: "\x1b[A", down: "\x1b[B" };

function machine(pid: number, change: Partial<RunningMachine["status"]> = {}): RunningMachine {
  const status = {
    protocol: 1,
    pid,
    uid: 0,
    program: `/bin/prog${pid}`,
    argv: [`prog${pid}`, "an argument"],
    device: "/dev/kvm",
    driver: "kvm" as const,
    vcpus: 2,
    memoryBytes: 12 << 20,
    sharedBytes: 1 << 20,
    uptimeMs: 5000,
    cpuMs: 1000,
    log: "stderr",
    output: "",
    ...change,
  };
  return { pid, uid: 0, socket: `/run/kontain/${pid}-1.sock`, status };
}

/** A source whose machines a test changes, and what was done to them. */
class Fake implements Source {
  machines: RunningMachine[] = [];
  silent: SilentMachine[] = [];
  stopped: [string, number][] = [];
  calls = 0;
  survey = async () => ({ machines: this.machines, silent: this.silent });
  counters = async () => {
    this.calls += 100;
    return { getpid: { calls: this.calls, errors: 0, ns: this.calls * 1000 } };
  };
  stop = async (socket: string, signal: number) => {
    this.stopped.push([socket, signal]);
  };
}

function show(source: Source, style = PLAIN) {
  const view = render(createElement(Watch, { style, milliseconds: 20, source }));
  const frame = () => view.lastFrame() ?? "";
  const until = async (text: string | RegExp) => {
    for (const end = Date.now() + 60_000; Date.now() < end; await sleep(10)) {
      if (typeof text === "string" ? frame().includes(text) : text.test(frame())) return frame();
    }
    throw new Error(`no ${text} within a minute; the last frame:\n${frame()}`);
  };
  const press = async (key: string) => {
    view.stdin.write(key);
    await sleep(30); // a lone escape is one only after a while
  };
  return { ...view, frame, until, press };
}

test("machines appear with what they use, and vanish", async (t) => {
  const source = new Fake();
  const view = show(source);
  await view.until("nothing runs");
  source.machines = [machine(41), machine(42, { vcpus: 3, memoryBytes: 5 << 30 })];
  const frame = await view.until("/bin/prog42");
  t.regex(frame, /2 machines/);
  t.regex(frame, /PID +OWNER +DEVICE +VCPUS +MEMORY +CPU% +TREND +UP +COMMAND/);
  t.regex(frame, /41 +root +\/dev\/kvm +2 +12\.0 MiB/);
  source.machines = [machine(42)];
  await view.until("1 machine ");
  t.false(view.frame().includes("prog41"));
  source.silent = [{ pid: 77, socket: "x", error: new Error("") }];
  await view.until("1 not answering: 77");
  view.unmount();
});

test("the share of a CPU comes from two looks, not from a machine that got an old one's name", (t) => {
  const sampler = new Sampler();
  const at = (uptimeMs: number, cpuMs: number) => sampler.next([machine(1, { uptimeMs, cpuMs })])[0]?.cpu;
  t.is(at(1000, 100), undefined);
  t.is(at(2000, 600), 0.5);
  t.is(at(3000, 2600), 2, "two vCPUs");
  t.is(at(3000, 2600), undefined, "no time has passed");
  t.is(at(10, 5), undefined, "another machine");
  for (let i = 2; i < 50; i++) at(i * 1000, 5);
  t.is(sampler.next([machine(1, { uptimeMs: 60_000, cpuMs: 5 })])[0]?.history.length, 12);
});

test("k asks, any other key is no, y and 9 are yes", async (t) => {
  const source = new Fake();
  source.machines = [machine(41), machine(42)];
  const view = show(source);
  await view.until("prog42");
  await view.press(ARROW.down);
  await view.until(/❯ +42/);
  await view.press("k");
  await view.until("kill 42");
  await view.press("n");
  await view.until("not killed");
  t.deepEqual(source.stopped, []);
  await view.press("k");
  await view.until("kill 42");
  await view.press("y");
  await view.until("SIGTERM sent to 42");
  await view.press(ARROW.up);
  await view.until(/❯ +41/);
  await view.press("k");
  await view.until("kill 41");
  await view.press("9");
  await view.until("SIGKILL sent to 41");
  t.deepEqual(source.stopped, [
    ["/run/kontain/42-1.sock", 15],
    ["/run/kontain/41-1.sock", 9],
  ]);
  view.unmount();
});

test("what is asked about is what was asked about, although rows move", async (t) => {
  const source = new Fake();
  source.machines = [machine(41), machine(42)];
  const view = show(source);
  await view.until("prog42");
  await view.press(ARROW.down);
  await view.until(/❯ +42/);
  source.machines = [machine(40), machine(42), machine(43)];
  await view.until("prog43");
  t.regex(view.frame(), /❯ +42/);
  await view.press("k");
  await view.until("kill 42");
  source.machines = [machine(43)];
  await view.until("1 machine ");
  await view.press("y");
  await view.until("SIGTERM sent to 42");
  t.deepEqual(source.stopped, [["/run/kontain/42-1.sock", 15]]);
  view.unmount();
});

test("a kill that fails says why", async (t) => {
  const source = new Fake();
  source.machines = [machine(41)];
  source.stop = async () => {
    throw new Error("it is gone");
  };
  const view = show(source);
  await view.until("prog41");
  await view.press("k");
  await view.until("kill 41");
  await view.press("y");
  t.regex(await view.until("it is gone"), /41: it is gone/);
  view.unmount();
});

test("enter opens details with system calls a second, escape closes them", async (t) => {
  const source = new Fake();
  source.machines = [machine(41, { argv: ["x", "evil \x1b[2J\u202e"], output: "/tmp/out" })];
  const view = show(source);
  await view.until("prog41");
  await view.press("\r");
  const frame = await view.until("getpid");
  t.regex(frame, /program +\/bin\/prog41/);
  t.regex(frame, /output \/tmp\/out/);
  t.false(
    frame.includes("\x1b[2J") || frame.includes("\u202e"),
    "nothing of a payload's reaches the terminal",
  );
  await view.press("\x1b");
  await sleep(200);
  t.false(view.frame().includes("getpid"));
  view.unmount();
});

test("more machines than lines: the selected one is always there", async (t) => {
  const source = new Fake();
  source.machines = Array.from({ length: 60 }, (_, i) => machine(1000 + i));
  const view = show(source);
  await view.until(/1 to \d+ of 60/);
  for (let i = 0; i < 59; i++) view.stdin.write(ARROW.down);
  await view.until(/❯ +1059/);
  t.true(view.frame().split("\n").length <= 24);
  view.unmount();
});

test("without colours and without UTF-8", async (t) => {
  t.deepEqual(styleOf({ NO_COLOR: "1", LANG: "C.UTF-8" }), { color: false, unicode: true });
  t.deepEqual(styleOf({ LANG: "C", TERM: "xterm" }), { color: true, unicode: false });
  t.deepEqual(styleOf({ NO_COLOR: "", LC_ALL: "de_DE.utf8", LANG: "C" }), { color: true, unicode: true });
  const source = new Fake();
  source.machines = [machine(41)];
  const view = show(source, { color: false, unicode: false });
  const frame = await view.until("prog41");
  t.regex(frame, /> +41/);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
  t.false(/\x1b\[(3|4|9|10)\d/.test(frame), "no colour");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
  t.regex(frame, /^[\x00-\x7f]*$/);
  view.unmount();
});

test("lines and bars fit their columns", (t) => {
  t.is(sparkline([0, 0.5, 1, 7], 6, PLAIN), "   ▄██");
  t.is(sparkline([0.01, 1], 1, { color: false, unicode: false }), "%");
  t.is(cut("abcdef", 5), "ab...");
  t.is(cut("abcdef", 2), "..");
  t.is(cut("abc", 3), "abc");
  t.deepEqual(
    callRates({ a: { calls: 10, errors: 0, ns: 0 } }, { a: { calls: 30, errors: 2, ns: 40_000 } }, 2),
    [{ name: "a", perSecond: 10, errors: 2, microseconds: 2 }],
  );
});
