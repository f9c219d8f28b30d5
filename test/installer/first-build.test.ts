// SPDX-License-Identifier: Apache-2.0
// The first `npx kontain-install` in a clone, with npm, gyp, tsc and a compiler as they are; only the sources are small.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, chmod, cp, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { which } from "../../scripts/packages.mjs";
import { REASONS } from "../../src/installer/reasons.js";
import { temporaryFolder } from "./fixtures.js";

const ROOT = new URL("../../", import.meta.url).pathname;
const SECONDS = 200;

/** What stands for the sources. The programs say that they ran, and with what. */
const SOURCES: Record<string, string> = {
  "native/base/number.cc": "int number() { return 7; }\n",
  "native/km/main.cc": "int number();\nint main() { return number() - 7; }\n",
  "native/binding/addon.cc": "int number();\nint addon() { return number(); }\n",
  "src/cli/kontain-install.ts": "console.log(JSON.stringify({ ran: process.argv.slice(2) }));\n",
  "src/cli/kontain.ts": "export {};\n",
};
const COPIED = [
  "bin",
  "scripts",
  "binding.gyp",
  "native/flags.gypi",
  "native/plain.gypi",
  "examples/c/hello.c",
];
const LINKED = ["node_modules", "package.json", "package-lock.json", "tsconfig.json", "tsconfig.build.json"];

/** Only what a person's shell would have: the npm that runs this test tells its children where it is at work. */
function environment(folder: string, more: Record<string, string>): Record<string, string> {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|CI$|CC$|CXX$|NODE_OPTIONS$)/i.test(name),
  );
  const npm = { npm_config_cache: join(folder, ".npm"), npm_config_offline: "true" };
  const quiet = { npm_config_update_notifier: "false", KONTAIN_NO_APT: "1" };
  return { ...(Object.fromEntries(own) as Record<string, string>), ...npm, ...quiet, ...more };
}

class Clone {
  private constructor(readonly folder: string) {}

  static async make(t: ExecutionContext): Promise<Clone> {
    const folder = join(await temporaryFolder(t), "clone");
    for (const name of COPIED) await cp(join(ROOT, name), join(folder, name), { recursive: true });
    for (const name of LINKED) await symlink(join(ROOT, name), join(folder, name));
    for (const [name, text] of Object.entries(SOURCES)) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), text);
    }
    return new Clone(folder);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  run(command: string[], env: Record<string, string> = {}) {
    const [program = "", ...args] = command;
    return execa(program, args, {
      cwd: this.folder,
      env: environment(this.folder, env),
      extendEnv: false,
      reject: false,
      stdin: "ignore",
      timeout: SECONDS * 1000,
    });
  }

  npx(...args: string[]) {
    return this.run(["npx", "kontain-install", ...args]);
  }

  launch(env: Record<string, string>, ...args: string[]) {
    return this.run([process.execPath, this.path("bin/kontain-install.mjs"), ...args], env);
  }
}

const BROKEN = { CC: "/bin/false", CXX: "/bin/false" };

test("a clone is built where one can see it, then installed; built again when sources change, not otherwise", async (t) => {
  const clone = await Clone.make(t);
  const first = await clone.npx("--json", "--yes");
  t.is(first.exitCode, 0, first.stderr);
  const events = first.stdout.split("\n").map((line) => JSON.parse(line));
  t.like(events[0], { type: "build", state: "start", log: clone.path("build/first-build.log") });
  t.like(events.at(-2), { type: "build", state: "done" });
  t.deepEqual(events.at(-1), { ran: ["--json", "--yes"] });
  t.is((await clone.run([clone.path("build/bin/km")])).exitCode, 0);

  const second = await clone.npx();
  t.is(second.stdout, '{"ran":[]}');
  t.notRegex(second.stderr, /build/);

  await writeFile(clone.path("native/km/main.cc"), "int main() { return 3; }\n");
  const third = await clone.npx();
  t.regex(third.stderr, /^build: km and the Node addon: not built yet, or not from these sources$/m);
  t.regex(third.stderr, /^build: done \(\d+ s\)$/m);
  t.is(third.stdout, '{"ran":[]}');
  t.is((await clone.run([clone.path("build/bin/km")])).exitCode, 3);

  await appendFile(clone.path("native/base/number.cc"), "this is no C++\n");
  const broken = await clone.npx();
  t.is(broken.exitCode, 1);
  t.is(broken.stdout, "");
  t.regex(broken.stderr, /^kontain-install: not built: .*number\.cc:2:\d+: error: .*first-build\.log\)$/m);
  t.is((await clone.npx("--uninstall")).exitCode, 0, "the way back needs no monitor");
});

test("a compiler that fails: one line with the id, the log and what to do; a good one then does", async (t) => {
  const clone = await Clone.make(t);
  const failed = await clone.run(["npx", "kontain-install", "--dry-run"], BROKEN);
  t.is(failed.exitCode, 1);
  t.is(failed.stdout, "");
  const log = clone.path("build/first-build.log");
  t.regex(failed.stderr, /^kontain-install: not built: make: \*\*\* .*\.o\] Error 1 \(log: .*\)$/m);
  t.true(failed.stderr.includes(`(log: ${log})`));
  t.true(failed.stderr.includes(`way out: ${REASONS["clone-failed"].fix}\n`));
  t.regex(failed.stderr, /^ {2}reason: clone-failed; nothing was changed$/m);
  t.regex(await readFile(log, "utf8"), /\*\*\*.*Error 1/);

  const json = await clone.launch(BROKEN, "--json");
  t.is(json.exitCode, 1);
  const events = json.stdout.split("\n").map((line) => JSON.parse(line));
  t.like(events.at(-2), { type: "problem", problem: { id: "clone-failed" } });
  t.like(events.at(-1), { type: "result", outcome: "failed" });
  t.is(json.stderr, "");

  const good = await clone.launch({});
  t.is(good.exitCode, 0, good.stderr);
});

test("no compiler on the PATH, or none of npm's packages: said before anything is tried", async (t) => {
  const clone = await Clone.make(t);
  const bin = await temporaryFolder(t);
  for (const name of ["sh", "make", "python3"]) await symlink(which(name) ?? t.fail(name), join(bin, name));
  const compiler = await clone.launch({ PATH: bin }, "--yes");
  t.is(compiler.exitCode, 1);
  t.regex(compiler.stderr, /not built: missing: g\+\+ \(compiles km and the Node addon\)$/m);
  t.regex(compiler.stderr, /way out: .*apt-get install -y build-essential$/m);
  t.regex(compiler.stderr, /reason: clone-tools; nothing was changed$/m);

  await rm(clone.path("node_modules"));
  const packages = await clone.launch({});
  t.is(packages.exitCode, 1);
  t.regex(packages.stderr, /way out: npm install\n {2}reason: clone-packages/);
});

test("packages of the distribution come only with --yes, and neither offline nor in a dry run", async (t) => {
  if (process.getuid?.() !== 0) return t.pass("only root installs packages");
  const clone = await Clone.make(t);
  const bin = await temporaryFolder(t);
  for (const name of ["sh", "make", "python3"]) await symlink(which(name) ?? t.fail(name), join(bin, name));
  await writeFile(join(bin, "apt-get"), `#!/bin/sh\necho "apt-get $*" >>${bin}/asked\nexit 100\n`);
  await chmod(join(bin, "apt-get"), 0o755);
  const asked = () => readFile(join(bin, "asked"), "utf8").catch(() => "");
  const env = { PATH: bin, KONTAIN_NO_APT: "" };
  for (const args of [[], ["--dry-run", "--yes"], ["-yn"], ["--offline", "--yes"]]) {
    t.regex((await clone.launch(env, ...args)).stderr, /reason: clone-tools/, args.join(" "));
    t.is(await asked(), "", args.join(" "));
  }
  // What stands behind `run` is a program's.
  const payload = await clone.run(
    [process.execPath, clone.path("bin/kontain.mjs"), "run", "x", "--yes", "--json"],
    env,
  );
  t.regex(payload.stderr, /reason: clone-tools/);
  t.is(payload.stdout, "", "and --json is not ours either");
  t.is(await asked(), "");
  t.regex((await clone.launch(env, "--yes")).stderr, /reason: clone-failed/);
  t.regex(await asked(), /install -y .*build-essential/);
});

test("on a terminal one line is drawn over and over, and is gone before the program begins", async (t) => {
  if (!which("script")) return t.pass("no script(1) here");
  const clone = await Clone.make(t);
  const command = `${process.execPath} ${clone.path("bin/kontain-install.mjs")}`;
  const run = await clone.run(["script", "-qec", command, "/dev/null"], { TERM: "xterm", CI: "" });
  t.is(run.exitCode, 0, run.stdout);
  const clear = `${String.fromCharCode(27)}[2K`;
  const [before = "", after = ""] = run.stdout.split("build: done");
  t.true(before.includes(clear), "it was drawn");
  t.regex(before, /build: native.*\d+ s/);
  t.true(before.endsWith(`\r${clear}`), "the line was taken away");
  t.regex(after, /^ \(\d+ s\)\s+\{"ran":\[\]\}\s*$/);
});

test("two at once: the second waits for the first; one that is ended is gone on from", async (t) => {
  if (!which("flock")) return t.pass("no flock(1) here");
  const clone = await Clone.make(t);
  const child = spawn(process.execPath, [clone.path("bin/kontain-install.mjs")], {
    env: environment(clone.folder, {}),
    stdio: "ignore",
  });
  const closed = once(child, "close");
  const log = () => readFile(clone.path("build/first-build.log"), "utf8").catch(() => "");
  while (!(await log())) await setTimeout(20);
  child.kill("SIGTERM");
  t.is((await closed)[0], 143);

  // A build that takes as long as this test wants.
  const lock = spawn("flock", [clone.path("build/first-build.lock"), "cat"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  lock.stdin.write("held\n");
  await once(lock.stdout, "data");
  const second = clone.launch({});
  second.stderr?.on("data", (data) => {
    if (/another build is at work in this clone/.test(String(data))) lock.stdin.end();
  });
  const done = await second;
  lock.stdin.end();
  t.regex(done.stderr, /another build is at work in this clone: waiting for its end/);
  t.is(done.exitCode, 0, done.stderr);
});
