// SPDX-License-Identifier: Apache-2.0
import { getEventListeners, once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import test from "ava";
import { execa } from "execa";
import {
  type LaunchOptions,
  launch,
  type MachineEvent,
  MonitorError,
  socketsOf,
} from "../../src/monitor/index.js";

const MAIN = fileURLToPath(new URL("../../dist/cli/kontain.js", import.meta.url));

/** Programs of a few lines, compiled once. */
let folder: string;
async function build(name: string, source: string): Promise<void> {
  await writeFile(join(folder, `${name}.c`), source);
  await execa("gcc", ["-O1", "-static", "-o", join(folder, name), join(folder, `${name}.c`)]);
}

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), "kontain-launch-test-"));
  await Promise.all([
    build("spin", 'int main(void) { for (;;) __asm__ volatile(""); }'),
    build(
      "hog",
      `#include <stdlib.h>
       #include <string.h>
       int main(void) { for (;;) memset(malloc(1 << 20), 1, 1 << 20); }`,
    ),
    build(
      "crash",
      `#include <signal.h>
       int main(void) { return raise(SIGSEGV); }`,
    ),
    build(
      "fork",
      `#include <stdio.h>
       #include <unistd.h>
       int main(void) { fork(); printf("%d\\n", getpid()); fflush(stdout); for (;;) pause(); }`,
    ),
    build(
      "env",
      `#include <stdio.h>
       extern char **environ;
       int main(void) { for (char **e = environ; *e; e++) puts(*e); }`,
    ),
    build(
      "cat",
      `#include <stdio.h>
       #include <string.h>
       #include <errno.h>
       int main(int argc, char **argv) {
         FILE *file = argc > 1 ? fopen(argv[1], argc > 2 ? argv[2] : "r") : stdin;
         if (!file) { fprintf(stderr, "%s\\n", strerror(errno)); return 4; }
         for (int c; (c = getc(file)) != EOF;) putchar(c);
         return 0;
       }`,
    ),
  ]);
});

const at = (name: string) => join(folder, name);

async function text(stream: Readable | null): Promise<string> {
  let all = "";
  for await (const chunk of stream ?? []) all += chunk;
  return all;
}

test("exit code, output and input pass through", async (t) => {
  const machine = await launch(at("cat"));
  machine.stdin?.end("through the machine");
  const [out, ending] = await Promise.all([text(machine.stdout), machine.wait()]);
  t.is(out, "through the machine");
  t.like(ending, { reason: "exited", exitCode: 0, signal: null, status: 0 });
  const missing = await launch(at("cat"), ["/nowhere"]);
  const [err, failed] = await Promise.all([text(missing.stderr), missing.wait()]);
  t.is(err, "No such file or directory\n");
  t.like(failed, { reason: "exited", exitCode: 4, status: 4 });
});

test("a crash is a signal, as a shell would see it", async (t) => {
  const machine = await launch(at("crash"), [], { memoryLimit: 64 << 20, timeout: 60_000 });
  t.like(await machine.wait(), { reason: "signal", signal: "SIGSEGV", status: 139 });
});

test("limits end it, and are told apart", async (t) => {
  const slow = await launch(at("spin"), [], { timeout: 300 });
  t.like(await slow.wait(), { reason: "timeout", signal: "SIGKILL", status: 137 });
  const busy = await launch(at("spin"), [], { cpuLimit: 200, timeout: 60_000 });
  t.like(await busy.wait(), { reason: "cpu", signal: "SIGKILL" });
  const big = await launch(at("hog"), [], { memoryLimit: 64 << 20, timeout: 60_000 });
  t.like(await big.wait(), { reason: "memory" });
});

test("a limit reaches what was forked", async (t) => {
  const machine = await launch(at("fork"), [], { timeout: 1000 });
  t.like(await machine.wait(), { reason: "timeout" }, "the pipe closes only when both are gone");
});

/** Whether a process is there, one that waits to be reaped not counted. */
async function alive(pid: number): Promise<boolean> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return /\) [^ZX] /.test(text);
}

async function gone(pid: number): Promise<void> {
  while (await alive(pid)) await sleep(20);
}

test("a limit reaches what was forked in the caller's own process group", async (t) => {
  const run = [MAIN, "run", "--timeout", "2", at("fork")];
  const { stdout, exitCode } = await execa(process.execPath, run, { reject: false, timeout: 120_000 });
  t.is(exitCode, 137);
  const pids = stdout.split("\n").map(Number);
  t.is(pids.length, 2);
  for (const pid of pids) await gone(pid);
});

const KEEPER = fileURLToPath(new URL("keeper.mjs", import.meta.url));

for (const how of ["plain", "files"])
  test(`a machine with a limit goes with the process that keeps it (${how})`, async (t) => {
    const keeper = execa(process.execPath, [KEEPER, at("spin"), how], { reject: false });
    const [line] = (await once(keeper.stdout, "data")) as [Buffer];
    const pid = Number(line);
    t.true(await alive(pid));
    keeper.kill("SIGKILL");
    await keeper;
    await gone(pid);
  });

test("a machine with a limit goes with the worker that keeps it", async (t) => {
  const worker = new Worker(KEEPER, { execArgv: [], argv: [at("spin"), "plain"] });
  const [pid] = (await once(worker, "message")) as [number];
  // What stands before km takes a moment to tie itself to its parent.
  while ((await socketsOf(pid)).length === 0) await sleep(20);
  t.true(await alive(pid));
  await worker.terminate();
  await gone(pid);
});

test("the payload's environment is the one given, with limits and without", async (t) => {
  const env = { ONLY: "this" };
  for (const options of [{}, { timeout: 60_000 }, { network: false }, { files: { read: [at("env")] } }]) {
    const machine = await launch(at("env"), [], { env, ...options });
    t.is(await text(machine.stdout), "ONLY=this\n", JSON.stringify(options));
  }
});

test("kill, abort, and leaving a block", async (t) => {
  const killed = await launch(at("spin"));
  t.true(killed.kill("SIGTERM"));
  t.like(await killed.wait(), { reason: "signal", signal: "SIGTERM", status: 143 });
  t.false(killed.kill());

  const controller = new AbortController();
  const aborted = await launch(at("spin"), [], { signal: controller.signal });
  controller.abort();
  t.like(await aborted.wait(), { reason: "aborted", signal: "SIGKILL" });
  t.is(getEventListeners(controller.signal, "abort").length, 0, "nothing stays behind");
  const late = await launch(at("spin"), [], { signal: controller.signal }).catch((error) => error.name);
  t.is(late, "AbortError");

  let left: Promise<unknown>;
  {
    await using machine = await launch(at("spin"));
    left = machine.wait();
  }
  t.like(await left, { reason: "killed" });
});

test("events come in order, also to who asks late", async (t) => {
  const machine = await launch(at("hog"), [], { memoryLimit: 64 << 20 });
  await machine.wait();
  const events: MachineEvent["type"][] = [];
  for await (const event of machine) events.push(event.type);
  t.deepEqual(events, ["started", "out-of-memory", "exited"]);
});

test("a trace shows system calls", async (t) => {
  const machine = await launch(at("cat"), ["/nowhere"], { trace: "file" });
  const calls: string[] = [];
  for await (const event of machine) if (event.type === "syscall") calls.push(event.text);
  t.true(
    calls.some((call) => /open.*"\/nowhere".*ENOENT/.test(call)),
    calls.join("\n"),
  );
});

test("stats tell from outside and from inside", async (t) => {
  await using machine = await launch(at("spin"));
  while ((await socketsOf(machine.pid)).length === 0) await sleep(10);
  const stats = await machine.stats();
  t.is(stats.processes, 1);
  t.true(stats.memoryBytes > 0);
  t.like(stats.status, { protocol: 1, pid: machine.pid, program: at("spin"), vcpus: 1 });
});

test("with files, nothing else exists", async (t) => {
  const secret = join(folder, "secret");
  const shown = join(folder, "shown");
  await Promise.all([writeFile(secret, "no"), writeFile(shown, "yes")]);
  const run = async (args: string[], files: { read?: string[]; write?: string[] }) => {
    const machine = await launch(at("cat"), args, { files, network: false, timeout: 60_000 });
    const [out, err, ending] = await Promise.all([
      text(machine.stdout),
      text(machine.stderr),
      machine.wait(),
    ]);
    return { said: out + err, status: ending.status };
  };
  t.deepEqual(await run([shown], { read: [shown] }), { said: "yes", status: 0 });
  t.deepEqual(await run([secret], { read: [shown] }), { said: "No such file or directory\n", status: 4 });
  t.deepEqual(await run(["/etc/shadow"], { read: [shown] }), {
    said: "No such file or directory\n",
    status: 4,
  });
  t.deepEqual(await run([shown, "r+"], { read: [shown] }), { said: "Read-only file system\n", status: 4 });
  t.deepEqual(await run([shown, "r+"], { write: [shown] }), { said: "yes", status: 0 });
});

test("what cannot be launched says why", async (t) => {
  const error = (code: string) => ({ instanceOf: MonitorError, code });
  await t.throwsAsync(launch("/nowhere"), error("ERR_KM_NOT_EXECUTABLE"));
  await t.throwsAsync(launch("/etc/passwd"), error("ERR_KM_NOT_EXECUTABLE"));
  await t.throwsAsync(launch(at("spin"), [], { device: "/dev/absent" }), error("ERR_KM_NO_DEVICE"));
  await t.throwsAsync(launch(at("spin"), [], { device: "/dev" }), error("ERR_KM_NO_DEVICE"));
  await t.throwsAsync(launch(at("spin"), [], { km: "/nowhere/km" }), error("ERR_KM_NO_MONITOR"));
  await t.throwsAsync(launch(at("spin"), [], { timeout: -1 }), error("ERR_KM_LIMIT"));
  await t.throwsAsync(launch(at("spin"), [], { memoryLimit: Number.NaN }), error("ERR_KM_LIMIT"));
  await t.throwsAsync(launch(at("spin"), [], { files: { read: ["relative"] } }), error("ERR_KM_LIMIT"));
  await t.throwsAsync(launch(at("spin"), [], { files: { read: ["/nowhere"] } }), error("ERR_KM_LIMIT"));
});

test("what only km finds out is an error of wait(), and the last event", async (t) => {
  const garbage = join(folder, "garbage");
  await writeFile(garbage, "neither ELF nor script", { mode: 0o755 });
  const failed = async (code: string, program: string, options: LaunchOptions) => {
    const machine = await launch(program, [], { stdio: "ignore", ...options });
    const error = await t.throwsAsync(machine.wait(), { instanceOf: MonitorError, code });
    const events: MachineEvent[] = [];
    for await (const event of machine) events.push(event);
    t.deepEqual(events.at(-1), { type: "failed", error: error as MonitorError });
    return error?.message ?? "";
  };
  t.regex(await failed("ERR_KM_NOT_EXECUTABLE", garbage, {}), /garbage/);
  t.regex(await failed("ERR_KM_NOT_EXECUTABLE", garbage, { timeout: 60_000 }), /garbage/);
  t.regex(
    await failed("ERR_KM_NO_DEVICE", at("spin"), { device: "/dev/null" }),
    /not a virtualization device/,
  );
  t.regex(await failed("ERR_KM_MONITOR_DIED", at("spin"), { km: "/bin/false" }), /before the payload/);
  const nowhere = { files: { read: ["/usr"] }, cwd: "/usr/nowhere" };
  t.regex(await failed("ERR_KM_LIMIT", at("spin"), nowhere), /cannot be set up here: .*Read-only/);
});

test("a payload cannot speak for the monitor", async (t) => {
  const words = ["-c", "echo 'failed 3 x' >&2; echo /proc/self/fd/*; exit 3"];
  const native = await execa("/bin/sh", words, { stdin: "pipe", reject: false });
  const machine = await launch("/bin/sh", words);
  machine.stderr?.resume();
  const [out, ending] = await Promise.all([text(machine.stdout), machine.wait()]);
  t.like(ending, { reason: "exited", exitCode: 3 });
  t.is(
    out.trim().split("\n").at(-1),
    native.stdout.split("\n").at(-1),
    "it has the descriptors it would have natively",
  );
});

test.serial("a hundred launches leave nothing behind", async (t) => {
  const fds = async () => (await readdir("/proc/self/fd")).length;
  const names = async () => (existsSync("/run/kontain") ? await readdir("/run/kontain") : []);
  const before = await fds();
  const pids: number[] = [];
  for (let i = 0; i < 100; i++) {
    const machine = await launch(at("cat"), ["/nowhere"], { stdio: "ignore" });
    pids.push(machine.pid);
    await machine.wait();
  }
  t.true((await fds()) <= before + 2);
  const left = (await names()).filter((name) => pids.includes(Number(name.split("-")[0])));
  t.deepEqual(left, []);
});
