// SPDX-License-Identifier: Apache-2.0
// km's own command line: every option the help names, how programs are found, what the log looks like.
import { chmodSync, copyFileSync, existsSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { DEVICE, DEVICE_OPTIONS, EMULATED, skipReason } from "../helpers/device.js";
import { inScratch, KM } from "../helpers/paths.js";
import { buildPayloads, payload } from "../helpers/payloads.js";
import { ENVIRONMENT, PATIENCE } from "../helpers/place.js";

await buildPayloads();
const HELLO = payload("hello/static-musl");
const USAGE = 1;
const LIMIT = 60_000 * (EMULATED ? PATIENCE : 1);

interface Result {
  readonly status: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

async function km(args: readonly string[], env: Record<string, string> = {}, cwd = "/"): Promise<Result> {
  const done = await execa(KM, [...DEVICE_OPTIONS, ...args], {
    cwd,
    env: { ...ENVIRONMENT, ...env },
    extendEnv: false,
    stdin: "ignore",
    reject: false,
    stripFinalNewline: false,
    timeout: LIMIT,
    killSignal: "SIGKILL",
  });
  return { status: done.signal ?? done.exitCode ?? "not started", stdout: done.stdout, stderr: done.stderr };
}

/** Runs km with its log in a file and returns both. */
function logged(options: readonly string[], program: readonly string[], env: Record<string, string> = {}) {
  return inScratch(async (directory) => {
    const log = join(directory, "log");
    const result = await km(["-k", log, ...options, ...program], env);
    return { ...result, log: existsSync(log) ? readFileSync(log, "utf8") : "" };
  });
}

/** A test that some driver is let off (test/helpers/skipped.ts). */
function unlessSkipped(title: string, body: (t: ExecutionContext) => Promise<void>): void {
  const reason = skipReason("programs", title);
  if (reason === undefined) test(title, body);
  else test.skip(`${title} (${reason})`, body);
}

const HELLO_LINE = "hello, world\n";
const ok = (stdout: string): Result => ({ status: 0, stdout, stderr: "" });

/** Options that take what is given here and let the program run. */
const ACCEPTED: Readonly<Record<string, readonly string[]>> = {
  verbose: ["--verbose=mem"],
  trace: ["--trace=all"],
  "km-log-to": ["--km-log-to=none"],
  "log-to": ["--log-to=/dev/null"],
  putenv: ["--putenv=A=1"],
  copyenv: ["--copyenv=LC_"],
  "virt-device": [],
  "membus-width": ["--membus-width=36"],
  "hcall-stats": ["--hcall-stats"],
  "kill-unimpl-scall": ["--kill-unimpl-scall"],
  "overcommit-memory": ["--overcommit-memory"],
  "wait-for-signal": [],
  "dump-shutdown": ["--dump-shutdown"],
  "core-on-err": ["--core-on-err"],
  landlock: ["--landlock=/:rw"],
  seccomp: ["--seccomp=log"],
  vendorid: [], // a test of its own
  version: [],
  help: [],
  "enable-1g-pages": ["--enable-1g-pages"],
  "disable-1g-pages": ["--disable-1g-pages"],
};

/** Long names in the help's text between two headings. */
function named(help: string, from: string, to: string): string[] {
  const part = help.slice(help.indexOf(from), help.indexOf(to));
  return [...part.matchAll(/^\s+(?:-\w, )?--([\w-]+)/gm)].map((match) => match[1] as string);
}

test("the help names every option, and each does what it should", async (t) => {
  const { status, stdout: help } = await km(["--help"]);
  t.is(status, 0);
  t.deepEqual(await km(["-h"]), ok(help));
  t.true(help.startsWith("usage: km [options]"));
  const offered = [
    ...named(help, "\nOptions:", "\nAccepted without effect:"),
    ...named(help, "\nAccepted without effect:", "\nRefused:"),
  ];
  t.deepEqual([...offered].sort(), Object.keys(ACCEPTED).sort(), "an option has a test here");
  for (const options of Object.values(ACCEPTED)) {
    const result = await logged(options, [HELLO]);
    t.is(result.status, 0, options.join(" "));
    t.is(result.stdout, options[0]?.startsWith("--log-to") ? "" : HELLO_LINE, options.join(" "));
  }
  for (const name of named(help, "\nRefused:", "\nEnvironment:")) {
    const result = await km([`--${name}=x`, HELLO]);
    t.is(result.status, USAGE, name);
    t.is(result.stdout, "", name);
    t.regex(result.stderr, new RegExp(`^km: option --${name} [^\\n]+\\n$`), name);
  }
});

test("-v and --version", async (t) => {
  const short = await km(["-v"]);
  t.regex(short.stdout, /^Kontain Monitor v\S+ \S+/);
  t.deepEqual(await km(["--version"]), ok(short.stdout));
});

const WRONG: readonly (readonly [readonly string[], RegExp])[] = [
  [[], /no program given/],
  [["-X", HELLO], /unknown option '-X'/],
  [["--no-such-option", HELLO], /unknown option '--no-such-option'/],
  [["-P", "31", HELLO], /--membus-width needs a number from 32 to 62, not '31'/],
  [["-P", "63", HELLO], /--membus-width needs a number from 32 to 62, not '63'/],
  [["-P", "0x24", HELLO], /--membus-width needs a number/],
  [["-e", "NAME", HELLO], /--putenv needs NAME=VALUE/],
  [["-e", "=x", HELLO], /--putenv needs NAME=VALUE/],
  [["-E", "A", "-E", "B", HELLO], /--copyenv may be given once/],
  [["-e", "A=1", "-E", "B", HELLO], /exclude each other/],
  [["-F"], /--virt-device needs a value/],
  [["-k", "/no/such/folder/log", HELLO], /cannot open the log '\/no\/such\/folder\/log'/],
  [["-l", "/no/such/folder/log", HELLO], /'?\/no\/such\/folder\/log'?/],
  [["--trace=no_such_call", HELLO], /knows no call or class 'no_such_call'/],
  [["--verbose=[", HELLO], /not a regular expression/],
];

for (const [args, why] of WRONG) {
  test(`wrong: km ${args.slice(0, 3).join(" ")}`, async (t) => {
    const result = await km(args);
    t.is(result.status, USAGE);
    t.is(result.stdout, "");
    t.regex(result.stderr, /^km: [^\n]+\n$/);
    t.regex(result.stderr, why);
  });
}

test("options end at the program, or at --", async (t) => {
  const expected = ok(`${HELLO_LINE}argv[1]=-v\nargv[2]=--help\n`);
  t.deepEqual(await km([HELLO, "-v", "--help"]), expected);
  t.deepEqual(await km(["--", HELLO, "-v", "--help"]), expected);
});

test("the payload's environment: all, -e, -E", async (t) => {
  const host = { ONE: "1", ONE_MORE: "2", OTHER: "three = 3" };
  const all = await km(["/usr/bin/env"], host);
  t.deepEqual(
    new Set(all.stdout.trim().split("\n")),
    new Set(Object.entries({ ...ENVIRONMENT, ...host }).map(([k, v]) => `${k}=${v}`)),
  );
  t.deepEqual(await km(["-e", "A=1", "--putenv=B=x=y", "/usr/bin/env"], host), ok("A=1\nB=x=y\n"));
  const some = await km(["-E", "ONE=LC_=PATH=HOME=TZ", "/usr/bin/env"], host);
  t.deepEqual(some, ok("OTHER=three = 3\n"));
});

test("--log-to takes the payload's output, appending", async (t) => {
  await inScratch(async (directory) => {
    const file = join(directory, "output");
    writeFileSync(file, "before\n");
    const script = ["/bin/sh", "-c", "echo out; echo err >&2"];
    t.deepEqual(await km([`--log-to=${file}`, ...script]), ok(""));
    t.deepEqual(await km(["-l", file, ...script]), ok(""));
    t.is(readFileSync(file, "utf8"), "before\nout\nerr\nout\nerr\n");
  });
});

const LOG_LINE = /^\d\d:\d\d:\d\d\.\d{6} \S+ +\d+ \S+ .+$/;

test("the log: file, none, stderr, the environment, one shape of line", async (t) => {
  const toFile = await logged(["-V"], [HELLO]);
  t.deepEqual([toFile.status, toFile.stdout, toFile.stderr], [0, HELLO_LINE, ""]);
  const lines = toFile.log.trimEnd().split("\n");
  t.true(lines.length > 2);
  for (const line of lines) t.regex(line, LOG_LINE);
  t.deepEqual(await km(["-V", "-k", "none", HELLO]), ok(HELLO_LINE));
  const toStderr = await km(["-V", "-k", "stderr", HELLO]);
  for (const line of toStderr.stderr.trimEnd().split("\n")) t.regex(line, LOG_LINE);
  await inScratch(async (directory) => {
    const log = join(directory, "log");
    const env = { KM_LOGTO: log, KM_VERBOSE: "" };
    // The variables are the payload's as well as km's.
    t.deepEqual(await km([HELLO], env), ok(HELLO_LINE));
    t.true(readFileSync(log, "utf8").split("\n").length > 2);
    t.is((await km(["-k", "none", HELLO], env)).stderr, "", "the option goes before the variable");
  });
});

test("an exec goes on with the log's file, not with its name", async (t) => {
  await inScratch(async (directory) => {
    const [log, moved] = [join(directory, "log"), join(directory, "moved")];
    for (const name of [["-k", log], []]) {
      const script = `mv ${log} ${moved}; exec /bin/sh -c 'exec ${HELLO}'`;
      const done = await km(["-Vexec|args", ...name, "/bin/sh", "-c", script], { KM_LOGTO: log });
      t.deepEqual(done, ok(HELLO_LINE));
      const lines = readFileSync(moved, "utf8");
      t.is(lines.match(/ exec \S*\/sh$/gm)?.length, 1, lines);
      t.is(lines.match(/ exec \S*hello\S*$/gm)?.length, 1, "said by the shell that was executed");
      t.false(existsSync(log), "no new file has the name");
    }
  });
});

test("--verbose takes only the tags that match", async (t) => {
  // Loads files and takes a signal: two tags at least.
  const program = ["/bin/sh", "-c", "trap : USR1; kill -USR1 $$"];
  const all = (await logged(["--verbose"], program)).log;
  t.regex(all, /signal 10 to handler/);
  const some = (await logged(["--verbose=^LOAD$"], program)).log;
  t.true(some !== "" && some.split("\n").length < all.split("\n").length, some);
  t.notRegex(some, /signal 10/);
  t.is((await logged(["--verbose=nothing_has_this_name"], [HELLO])).log, "");
});

test("--trace shows decoded calls", async (t) => {
  const { log, stdout } = await logged(
    ["--trace=file,write"],
    ["/bin/cat", "/etc/hostname", "/no/such/file"],
  );
  t.is(stdout, readFileSync("/etc/hostname", "utf8"));
  const calls = log
    .trimEnd()
    .split("\n")
    .map((line) => line.replace(/^\S+ trace +\d+ \S+ /, ""));
  t.true(
    calls.some((call) => /^openat\(AT_FDCWD, "\/etc\/hostname", O_RDONLY\) = \d+$/.test(call)),
    log,
  );
  t.true(
    calls.some((call) =>
      /^openat\(AT_FDCWD, "\/no\/such\/file", O_RDONLY\) = -1 ENOENT \(No such file or directory\)$/.test(
        call,
      ),
    ),
    log,
  );
  const text = JSON.stringify(stdout);
  t.true(calls.includes(`write(1, ${text}, ${stdout.length}) = ${stdout.length}`), log);
  t.false(
    calls.some((call) => /^(mmap|brk|exit_group)\(/.test(call)),
    "other classes stay out",
  );
  const without = await logged(["--trace=file,!openat"], ["/bin/cat", "/etc/hostname"]);
  t.false(without.log.includes("openat("));
  t.true(without.log.includes("newfstatat("));
});

test("--hcall-stats counts what the payload called", async (t) => {
  const { log, stdout } = await logged(["-S"], ["/bin/sh", "-c", "echo a; echo b; echo c"]);
  t.is(stdout, "a\nb\nc\n");
  const row = log.split("\n").find((line) => / write$/.test(line));
  t.regex(row ?? "", / 3 +0 +\d+\.\d +\d+\.\d+ +write$/, log);
});

unlessSkipped("the clock needs no exit", async (t) => {
  const script = "import time\nfor i in range(2000): time.monotonic(); time.time()";
  const { log, status } = await logged(["-S"], ["/usr/bin/python3", "-c", script]);
  t.is(status, 0);
  const row = log.split("\n").find((line) => / clock_gettime$/.test(line));
  const calls = Number(/ +(\d+) +\d+ +\d+\.\d+ +\d+\.\d+ +clock_gettime$/.exec(row ?? "")?.[1] ?? 0);
  t.true(calls < 20, `${calls} calls`);
});

test("variables by which the original executed itself are the payload's and no more", async (t) => {
  const theirs = {
    KM_EXEC_EVENTFDS: "1,2",
    KM_EXEC_GDBINFO: "1,0,2159",
    KM_EXEC_GUESTFDS: "{1,0,0,0}",
    KM_EXEC_PIDINFO: "1",
    KM_EXEC_VERS: "3,727,0",
    KM_EXEC_VMFDS: "0,1,2",
  };
  const listed = Object.entries(theirs).map(([name, value]) => `${name}=${value}`);
  const list = "env | grep KM_EXEC | sort";
  const { status, stdout } = await km(
    ["/bin/sh", "-c", `${list}; exec /bin/sh -c '${list}; exit 9'`],
    theirs,
  );
  t.is(status, 9);
  t.deepEqual(stdout.trim().split("\n"), [...listed, ...listed]);
});

test("--kill-unimpl-scall", async (t) => {
  const script = "import ctypes; print(ctypes.CDLL(None, use_errno=True).syscall(400), ctypes.get_errno())";
  const told = await logged([], ["/usr/bin/python3", "-c", script]);
  t.is(told.stdout, "-1 38\n");
  t.regex(told.log, /system call 400 is unknown: ENOSYS/);
  t.is((await logged(["--kill-unimpl-scall"], ["/usr/bin/python3", "-c", script])).status, "SIGSYS");
  t.is((await logged([], ["/usr/bin/python3", "-c", script], { KM_KILL_UNIMPL_SCALL: "" })).status, "SIGSYS");
});

test("--vendorid shows the vendor, or is refused where guests execute CPUID natively", async (t) => {
  const vendor = payload("flags/vendor");
  const native = await execa(vendor);
  t.is((await km([vendor])).stdout, `${native.stdout}\n`);
  const { status, stdout, stderr } = await km(["--vendorid", vendor]);
  const intercepts = /^flags\s*:.* (vmx|svm) /m.test(readFileSync("/proc/cpuinfo", "latin1"));
  if (status === 0 || (intercepts && !DEVICE.endsWith("kkm"))) {
    t.regex(stdout, /^Kontain/);
    return;
  }
  t.is(status, USAGE);
  t.is(stdout, "");
  t.regex(stderr, /^km: [^\n]*CPUID vendor \([^\n]*guests [^\n]*execute CPUID natively\)[^\n]*\n$/);
});

test("--wait-for-signal", async (t) => {
  const child = execa(KM, [...DEVICE_OPTIONS, "--wait-for-signal", HELLO], {
    reject: false,
    stdin: "ignore",
    timeout: LIMIT,
  });
  let said = "";
  for await (const chunk of child.stderr) {
    said += String(chunk);
    if (said.includes("\n")) break;
  }
  t.is(said, `Waiting for kill -SIGUSR1 ${child.pid}\n`);
  child.kill("SIGUSR1");
  const done = await child;
  t.is(done.stdout, HELLO_LINE.trim());
  t.is(done.exitCode, 0);
});

test("a device by name, also through a link", async (t) => {
  await inScratch(async (directory) => {
    const link = join(directory, "device");
    symlinkSync(DEVICE, link);
    t.deepEqual(await km(["-F", DEVICE, HELLO]), ok(HELLO_LINE));
    t.deepEqual(await km([`--virt-device=${link}`, HELLO]), ok(HELLO_LINE));
  });
});

test("a link NAME to km runs NAME.km beside it", async (t) => {
  await inScratch(async (directory) => {
    symlinkSync(KM, join(directory, "program"));
    copyFileSync(HELLO, join(directory, "program.km"));
    chmodSync(join(directory, "program.km"), 0o755);
    const run = (command: string, cwd: string) =>
      execa(command, ["-v", "--help"], { cwd, env: { PATH: `${directory}:/usr/bin:/bin` } });
    const expected = "hello, world\nargv[1]=-v\nargv[2]=--help";
    t.is((await run(join(directory, "program"), "/")).stdout, expected);
    t.is((await run("./program", directory)).stdout, expected);
    t.is(
      (
        await execa("sh", ["-c", "program -v --help"], {
          cwd: "/",
          env: { PATH: `${directory}:/usr/bin:/bin` },
        })
      ).stdout,
      expected,
    );
    symlinkSync(KM, join(directory, "lonely"));
    const alone = await execa(join(directory, "lonely"), { reject: false });
    t.is(alone.exitCode, 2);
    t.regex(alone.stderr, /^km: '[^']*lonely\.km': does not exist[^\n]*$/);
  });
});

test("scripts: interpreter, one argument, the script's name as typed", async (t) => {
  await inScratch(async (directory) => {
    const script = (name: string, text: string) =>
      writeFileSync(join(directory, name), text, { mode: 0o755 });
    script("plain", `#!${HELLO}\n`);
    script("spaced", `#!  ${HELLO}   two words \t\n`);
    script("nested", `#!${join(directory, "plain")} inner\n`);
    t.is((await km(["./plain", "a"], {}, directory)).stdout, `${HELLO_LINE}argv[1]=./plain\nargv[2]=a\n`);
    t.is(
      (await km(["./spaced"], {}, directory)).stdout,
      `${HELLO_LINE}argv[1]=two words\nargv[2]=./spaced\n`,
    );
    t.is(
      (await km(["./nested", "a"], {}, directory)).stdout,
      `${HELLO_LINE}argv[1]=${join(directory, "plain")}\nargv[2]=inner\nargv[3]=./nested\nargv[4]=a\n`,
    );
  });
});

test("a program without a slash is looked up in PATH", async (t) => {
  t.deepEqual(await km(["echo", "found"]), ok("found\n"));
});

test("exit status and death are the payload's", async (t) => {
  t.is((await km(["/bin/sh", "-c", "exit 117"])).status, 117);
  for (const signal of ["SIGTERM", "SIGKILL", "SIGUSR1"]) {
    t.is((await km(["/bin/sh", "-c", `kill -${signal.slice(3)} $$`])).status, signal);
  }
});

test("a signal sent to km reaches the payload", async (t) => {
  const script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
  const child = execa(KM, [...DEVICE_OPTIONS, "/bin/sh", "-c", script], {
    reject: false,
    stdin: "ignore",
    timeout: LIMIT,
  });
  child.stdout.once("data", () => child.kill("SIGTERM"));
  const done = await child;
  t.is(done.stdout, "ready\ncaught");
  t.is(done.exitCode, 9);
});
