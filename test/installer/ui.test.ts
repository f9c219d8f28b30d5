// SPDX-License-Identifier: Apache-2.0
// What people see: the terminal's picture after each event, the keys, the plain lines, and the real thing on a pty.
import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { render } from "ink-testing-library";
import { createElement } from "react";
import type { HostFacts } from "../../src/installer/facts.js";
import { type Plan, plan } from "../../src/installer/plan/plan.js";
import type { RunStep } from "../../src/installer/plan/steps.js";
import { problem } from "../../src/installer/reasons.js";
import type { InstallEvent } from "../../src/installer/ui/events.js";
import { EMPTY, type Model, planShown, reduce } from "../../src/installer/ui/ink/model.js";
import { Store, Terminal } from "../../src/installer/ui/ink/terminal.js";
import { App } from "../../src/installer/ui/ink/view.js";
import { jsonReporter, plainReporter } from "../../src/installer/ui/plain.js";
import { host, PREFIX, temporaryFolder } from "./fixtures.js";

/** A host that gets KKM, with something of everything in its plan. */
function kkmHost(): HostFacts {
  return host({
    user: { uid: 0, name: "root", groups: [] },
    cpu: { ...host().cpu, virtualization: "none" },
    devices: [{ path: "/dev/kvm", state: "absent", evidence: "no such file" }],
    machine: {
      ...host().machine,
      cloud: { id: "aws", name: "Amazon EC2", instanceType: "m8i.large", typeFrom: "dmi" },
      nested: { offer: "switch", how: "aws ec2 modify-instance-cpu-options", source: "" },
    },
  });
}

function planOf(facts: HostFacts): Plan {
  const decided = plan(facts, { prefix: PREFIX });
  if (decided.kind !== "plan") throw new Error(decided.reason);
  return decided;
}

const START: InstallEvent = { type: "start", action: "install", version: "0.1.0", prefix: PREFIX };

function buildStep(decided: Plan): RunStep {
  const found = decided.steps.find((step) => step.kind === "run" && step.name === "build");
  return found as RunStep;
}

/** The events of a whole installation, with the time of each. */
function wholeRun(): [InstallEvent, number][] {
  const facts = kkmHost();
  const decided = planOf(facts);
  const files = decided.steps.filter((step) => step.kind === "file" && step.path.startsWith(PREFIX));
  const build = buildStep(decided);
  const run = { works: true, command: "km hello", stdout: "Hello, world\nargument 1: Hello\n", problem: "" };
  return [
    [START, 0],
    [{ type: "found", facts: { distro: facts.distro, kernel: facts.kernel } }, 10],
    [{ type: "facts", facts }, 500],
    [{ type: "plan", plan: decided }, 500],
    ...files.flatMap((step): [InstallEvent, number][] => [
      [{ type: "step", step, state: "start" }, 1000],
      [{ type: "step", step, state: "done" }, 1500],
    ]),
    [{ type: "step", step: build, state: "start" }, 2000],
    [{ type: "output", step: build, line: "  CC [M]  \u001b[1mmain.o\u001b[0m" }, 3000],
    [{ type: "step", step: build, state: "done" }, 67_000],
    [{ type: "verifying", device: "/dev/kkm" }, 67_000],
    [{ type: "verify", run }, 68_000],
    [
      { type: "result", outcome: "installed", prefix: PREFIX, message: "installed 0.1.0", next: ["try: km"] },
      68_000,
    ],
  ];
}

function after(events: [InstallEvent, number][], until: InstallEvent["type"] | "end"): [Model, number] {
  let model = EMPTY;
  for (const [event, now] of events) {
    model = reduce(model, event, now);
    if (event.type === until) return [model, now];
  }
  return [model, events.at(-1)?.[1] ?? 0];
}

function picture(t: ExecutionContext, model: Model, now: number, question: string | null = null): string {
  const app = render(createElement(App, { model, question, now: () => now }));
  t.teardown(() => app.unmount());
  return app.lastFrame() ?? "";
}

test("facts appear as they are found", (t) => {
  const [model] = after(wholeRun(), "found");
  const shown = picture(t, model, 100);
  t.regex(shown, /kontain 0\.1\.0 {2}\/opt\/kontain/);
  t.regex(shown, /host +Debian GNU\/Linux 12 \(bookworm\), kernel 6\.1\.0-18-amd64/);
  t.regex(shown, /looking at this machine/);
  t.notRegex(shown, /processor/);
});

test("the plan says what each step changes, and which key agrees", (t) => {
  const [model, now] = after(wholeRun(), "plan");
  const shown = picture(t, model, now, "Go ahead?");
  t.regex(shown, /machine +Amazon EC2 m8i\.large/);
  t.regex(shown, /plan \/dev\/kkm, because there is no hardware virtualization here; KKM does without it/);
  t.regex(shown, /write +4 files below \/opt\/kontain/);
  t.regex(shown, /group +group kkm, whose members may use \/dev\/kkm/);
  t.regex(shown, /build +kkm\.ko for kernel 6\.1\.0-18-amd64/);
  t.regex(shown, /write +\/etc\/modules-load\.d\/kkm\.conf: loads the module at boot/);
  t.regex(shown, /note +hardware virtualization would be quicker\. Amazon EC2 m8i\.large: aws ec2/);
  t.regex(shown, /Go ahead\? enter yes n no/);
});

test("a long step shows how long it has taken and what it printed last", (t) => {
  const [model, now] = after(wholeRun(), "output");
  const shown = picture(t, model, now);
  t.regex(shown, /✔ 2 files below \/opt\/kontain \(1\.0 s\)/);
  t.regex(shown, /build and install kkm\.ko for kernel 6\.1\.0-18-amd64 1\.0 s/);
  t.regex(shown, /CC \[M\] {2}main\.o/);
  t.false(shown.includes("\u001b[1mmain"), "nothing of what a command prints reaches the terminal but text");
});

test("the last screen says what changed and what to do next; finished steps stay above it", (t) => {
  const [model, now] = after(wholeRun(), "end");
  const shown = picture(t, model, now);
  t.regex(shown, /✔ build and install kkm\.ko for kernel 6\.1\.0-18-amd64 \(1 min 5 s\)/);
  t.regex(shown, /│ Hello, world/);
  t.regex(shown, /installed 0\.1\.0/);
  t.regex(shown, /load .*\/dev\/kkm is 0660 root:kkm/);
  t.regex(shown, /try: +km/);
  t.is(model.work, null);
});

test("what stops it has an id, what was seen, and a way out", (t) => {
  const stopped = problem("build-compiler", "kernel 6.1 was built with gcc 12");
  let [model] = after(wholeRun(), "output");
  model = reduce(model, { type: "problem", problem: stopped }, 4000);
  const shown = picture(t, model, 4000);
  t.regex(shown, /build-compiler/);
  t.regex(shown, /kernel 6\.1 was built with gcc 12/);
  t.regex(shown, /way out install the compiler named/);

  const refusal = {
    kind: "refusal",
    code: "headers-missing",
    reason: "no headers",
    remedy: "install them",
  } as const;
  const refused = picture(t, reduce(EMPTY, { type: "refusal", refusal }, 0), 0);
  t.regex(refused, /headers-missing/);
});

test("the plan says how much of it needs root, and when there is nothing to do", (t) => {
  const [model, now] = after(wholeRun(), "plan");
  t.regex(picture(t, model, now), /root +\d+ of the steps need it/);
  const nothing = { ...planOf(kkmHost()), steps: [], rootSteps: 0 };
  const shown = picture(t, reduce(EMPTY, { type: "plan", plan: nothing }, 0), 0);
  t.regex(shown, /nothing +to be changed: everything is in place/);
  t.notRegex(shown, /root/);
});

test("what became of the host where it failed is told as it is, also when not all was taken back", (t) => {
  const rest = "not all is taken back (busy): kontain uninstall goes on with it";
  const event: InstallEvent = {
    type: "result",
    outcome: "failed",
    prefix: PREFIX,
    message: "not",
    next: [],
    rest,
  };
  t.regex(picture(t, reduce(EMPTY, event, 0), 0), /not all is taken back \(busy\)/);
});

test("what others said cannot command the terminal, in no reporter", (t) => {
  const evil = problem("build-failed", "make: \u001b]0;owned\u0007\u001b[2Jno\nrule");
  const { message } = { message: `not installed: ${evil.evidence}` };
  const result: InstallEvent = { type: "result", outcome: "failed", prefix: PREFIX, message, next: [] };
  const { err } = plainText([[result, 0]], false);
  t.is(err, "not installed: make: ]0;ownedno rule\n");
  const model = reduce(EMPTY, { type: "problem", problem: evil }, 0);
  t.like(model.items[0], { problem: { evidence: "make: ]0;ownedno rule" } });
});

test("taking back is shown", (t) => {
  const decided = planOf(kkmHost());
  let model = reduce(EMPTY, { ...START, action: "uninstall" }, 0);
  for (const step of [...decided.steps].reverse()) {
    model = reduce(model, { type: "step", step, state: "undone" }, 100);
  }
  const end: InstallEvent = {
    type: "result",
    outcome: "uninstalled",
    prefix: PREFIX,
    message: "gone",
    next: [],
  };
  const shown = picture(t, reduce(model, end, 200), 200);
  t.regex(shown, /taken back: build and install kkm\.ko/);
  t.regex(shown, /files taken back/);
  t.regex(shown, /gone/);
});

test("the plan is settled once, whoever settles it", (t) => {
  const [model] = after(wholeRun(), "plan");
  const once = planShown(model);
  t.is(planShown(once), once);
  t.is(once.items.filter((item) => item.kind === "plan").length, 1);
});

for (const [key, answer] of [
  ["\r", true],
  ["y", true],
  ["n", false],
  ["q", false],
] as const) {
  test(`the key ${JSON.stringify(key)} answers ${answer}`, async (t) => {
    const store = new Store();
    const app = render(createElement(Terminal, { store, keyboard: true }));
    t.teardown(() => app.unmount());
    store.report({ type: "plan", plan: planOf(kkmHost()) });
    const asked = store.ask("Go ahead?");
    // A key pressed before the keyboard is listened to is lost: press until there is an answer.
    let answered: boolean | undefined;
    void asked.then((value) => {
      answered = value;
    });
    while (answered === undefined) {
      app.stdin.write(key);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    t.is(answered, answer);
    store.reply(!answer);
    t.is(store.get().question, null);
  });
}

function plainText(events: [InstallEvent, number][], verbose: boolean): { out: string; err: string } {
  const texts = { out: "", err: "" };
  let clock = 0;
  const report = plainReporter(
    (text) => {
      texts.out += text;
    },
    (text) => {
      texts.err += text;
    },
    { verbose, now: () => clock },
  );
  for (const [event, now] of events) {
    clock = now;
    report(event);
  }
  return texts;
}

test("plain lines: facts, the plan, each long step with its time, the closing words", (t) => {
  const { out, err } = plainText(wholeRun(), false);
  t.is(err, "");
  t.regex(out, /^kontain 0\.1\.0\n {2}host +Debian/);
  t.regex(out, /\n {2}write +4 files below \/opt\/kontain\n/);
  t.regex(out, /\n {2}root +\d+ of the steps need it\n/);
  t.regex(
    out,
    /\n {2}now +build and install kkm\.ko for kernel 6\.1\.0-18-amd64\n {2}done +build.* \(1 min 5 s\)\n/,
  );
  t.regex(out, /\n {2}\| Hello, world\n/);
  t.regex(out, /\ninstalled 0\.1\.0\n {2}try: km\n$/);
  t.false(out.includes("main.o"));
  t.false(out.includes("\u001b"));
});

test("--verbose lists every file and what commands print, without what a terminal would obey", (t) => {
  const { out } = plainText(wholeRun(), true);
  t.regex(out, /\n {2}write +\/opt\/kontain\/bin\/km\n/);
  t.regex(out, /\n {2}\| {3}CC \[M\] {2}main\.o\n/);
  t.false(out.includes("\u001b"));
});

test("JSON: one event a line, the facts once", (t) => {
  let text = "";
  const report = jsonReporter((line) => {
    text += line;
  });
  for (const [event] of wholeRun()) report(event);
  const types = text
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as InstallEvent).type);
  t.is(types.filter((type) => type === "facts").length, 1);
  t.false(types.includes("found"));
  t.is(types.at(-1), "result");
});

const PROGRAM = new URL("../../src/cli/kontain-install.ts", import.meta.url).pathname;

const CTRL_C = "\u0003";

interface OnPty {
  args?: string[];
  /** When this was shown `key` is pressed: Ctrl-C once (a second one ends a program at once), others until it ends. */
  when: RegExp;
  key: string;
  columns?: number;
  env?: Record<string, string>;
}

interface Ended {
  text: string;
  status: number | null;
}

/** Runs the installer on a pseudo-terminal (script(1)), and compares the terminal's settings after it with those before. */
function onPty({ args = [], when, key, columns = 120, env: more = {} }: OnPty): Promise<Ended> {
  const { CI: _, NO_COLOR: __, ...env } = process.env;
  const program = [process.execPath, "--import=tsx", PROGRAM, "--offline", ...args];
  const line = program.map((word) => `'${word}'`).join(" ");
  const script = `trap : INT; stty cols ${columns} rows 50; was=$(stty -g); ${line}; status=$?; [ "$was" = "$(stty -g)" ] && echo "as before"; exit $status`;
  const child = spawn("script", ["-qefc", script, "/dev/null"], {
    env: { ...env, TERM: "xterm-256color", ...more },
    stdio: ["pipe", "pipe", "inherit"],
  });
  let text = "";
  let timer: NodeJS.Timeout | undefined;
  child.stdout.on("data", (data: Buffer) => {
    text += data.toString();
    if (timer === undefined && when.test(text)) {
      child.stdin.write(key);
      timer = setInterval(() => key !== CTRL_C && child.stdin.write(key), 200);
    }
    // What comes after belongs to nobody any more.
    if (/as before/.test(text)) clearInterval(timer);
  });
  child.stdin.on("error", () => {});
  return new Promise((resolve) => {
    child.on("close", (status) => {
      clearInterval(timer);
      resolve({ text, status });
    });
  });
}

/** Whether the terminal is as it was: its settings, and the cursor to be seen. */
function givenBack(t: ExecutionContext, { text }: Ended): void {
  t.regex(text, /as before/);
  t.true(text.lastIndexOf("\u001b[?25h") >= text.lastIndexOf("\u001b[?25l"), "the cursor is shown again");
}

const ASKED = /Go ahead\?/;

for (const [what, key, wanted, words] of [
  ["declined with n", "n", 4, /nothing was changed: say yes/],
  ["interrupted with Ctrl-C", CTRL_C, 130, /interrupted: nothing was changed/],
] as const) {
  test(`on a real terminal: drawn, asked, ${what}; or refused with a reason where there is no device`, async (t) => {
    const folder = await temporaryFolder(t);
    const ended = await onPty({ args: ["--prefix", join(folder, "kontain")], when: ASKED, key });
    const { text, status } = ended;
    t.true(text.includes("\u001b["), "it draws");
    t.regex(text, /looking at this machine/);
    t.is(status, ASKED.test(text) ? wanted : 3);
    t.regex(text, ASKED.test(text) ? words : /way out/);
    t.deepEqual(await readdir(folder), []);
    givenBack(t, ended);
  });
}

for (const [what, key, wanted, words] of [
  ["Ctrl-C", CTRL_C, 130, /interrupted: nothing was changed/],
  ["the end of input", "\u0004", 4, /nothing was changed: say yes/],
] as const) {
  test(`on a terminal that is not drawn on: ${what} at the question`, async (t) => {
    const folder = await temporaryFolder(t);
    const args = ["--prefix", join(folder, "kontain")];
    const ended = await onPty({ args, when: ASKED, key, env: { CI: "1" } });
    t.is(ended.status, ASKED.test(ended.text) ? wanted : 3);
    t.regex(ended.text, ASKED.test(ended.text) ? words : /way out/);
    t.deepEqual(await readdir(folder), []);
    givenBack(t, ended);
  });
}

test("on a real terminal: Ctrl-C while it looks ends it before it asks", async (t) => {
  const folder = await temporaryFolder(t);
  const when = /looking at this machine/;
  const ended = await onPty({ args: ["--prefix", join(folder, "kontain")], when, key: CTRL_C });
  t.is(ended.status, 130);
  t.regex(ended.text, /interrupted: nothing was changed/);
  t.notRegex(ended.text, ASKED);
  t.deepEqual(await readdir(folder), []);
  givenBack(t, ended);
});

test("on a narrow terminal without colours: nothing is wider than it, nothing is coloured", async (t) => {
  const folder = await temporaryFolder(t);
  const args = ["--prefix", join(folder, "kontain")];
  const ended = await onPty({ args, when: ASKED, key: "n", columns: 40, env: { NO_COLOR: "1" } });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is looked for
  t.notRegex(ended.text, /\u001b\[(3|4|9|10)\d(;[\d;]+)?m/);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they take no room
  const lines = ended.text.replace(/\u001b\[[0-9;?]*[a-zA-Z]/g, "").split(/[\r\n]+/);
  t.deepEqual(
    lines.filter((line) => [...line].length > 40),
    [],
  );
  givenBack(t, ended);
});
