// SPDX-License-Identifier: Apache-2.0
// The payload has one way out, the monitor's, on every driver: no door of the host's kernel opens, and nothing of the
// monitor's memory can be read, written or executed.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { DEVICE, DEVICE_OPTIONS } from "../helpers/device.js";
import { copiesForAll, inScratch, KM } from "../helpers/paths.js";
import { buildPayloads, payload } from "../helpers/payloads.js";
import { ENVIRONMENT, here, type Outcome } from "../helpers/place.js";

const DOORS = payload("bad/doors");

test.before(async (t) => {
  t.timeout(600_000);
  const complaint = await buildPayloads();
  if (complaint) t.log(complaint);
});

interface Try {
  readonly outcome: Outcome;
  readonly log: string;
}

function tryDoor(door: string): Promise<Try> {
  return inScratch(async (cwd) => {
    const log = `${cwd}/log`;
    const command = [KM, "--trace=all", "-k", log, ...DEVICE_OPTIONS, DOORS, door];
    const outcome = await here.run({ command, cwd, seconds: 60 });
    return { outcome, log: readFileSync(log, "utf8") };
  });
}

/** What the payload prints natively proves that the door is one, and that the test could fail. */
async function leadsSomewhere(t: ExecutionContext, door: string): Promise<void> {
  const native = await here.run({ command: [DOORS, door], cwd: "/", seconds: 60 });
  const open = native.stdout.includes("REACHED");
  t.log(open ? "natively the kernel answers" : "closed on this machine natively as well");
}

/** The 32-bit entries: a fault, and nothing has happened. */
const CLOSED: readonly (readonly [door: string, what: string])[] = [
  ["int80", "int $0x80"],
  ["sysenter", "sysenter"],
  ["int80-32", "int $0x80 from 32-bit code"],
  ["syscall-32", "syscall from 32-bit code"],
];

for (const [door, what] of CLOSED) {
  test.serial(`no door: ${what}`, async (t) => {
    await leadsSomewhere(t, door);
    const { outcome } = await tryDoor(door);
    t.is(outcome.stdout.toString(), "");
    t.true(["SIGSEGV", "SIGILL"].includes(String(outcome.status)), `${outcome.status}: ${outcome.stderr}`);
  });
}

/** Numbers that the monitor must judge: result, and that it was asked. */
const JUDGED: readonly (readonly [door: string, what: string, says: string])[] = [
  ["x32", "an x32 number", "result -38, refused\nwent on\n"],
  ["high", "a number with high bits", "result 0, answered\nwent on\n"],
  ["minus-one", "number -1", "result -38\nwent on\n"],
  ["vsyscall", "the vsyscall page", "time written\nwent on\n"],
];

for (const [door, what, says] of JUDGED) {
  test.serial(`the monitor is asked: ${what}`, async (t) => {
    await leadsSomewhere(t, door);
    const { outcome, log } = await tryDoor(door);
    t.is(outcome.stdout.toString(), says);
    t.is(outcome.status, 0);
    if (door === "vsyscall") t.regex(log, / time\(/, "the call is the monitor's");
  });
}

/** The window of native/driver/kvm_layout.h. */
const WINDOW = { start: 0x200000n, end: 0x7fffe00000n };
/** Above this KKM's machines have pages of their own (kkm/stub.h), which hold the payload's own vector state. */
const OWN_PAGES = 0x7fffff000000n;
/** Of no mapping: null, descriptor tables and stacks of a KVM machine, the kernel's half, no address at all. */
const ELSEWHERE = [
  0x0n,
  0x1000n,
  0x8000200000n,
  0xffff888000000000n,
  0xffffffff81000000n,
  0x8000123456789000n,
];

/** First and last page of everything the process has mapped outside the window. */
function monitorAddresses(pid: number): bigint[] {
  const maps = readFileSync(`/proc/${pid}/maps`, "utf8").trim().split("\n");
  return maps.flatMap((line) => {
    const [start, end] = (line.split(" ")[0] ?? "").split("-").map((text) => BigInt(`0x${text}`));
    if (start === undefined || end === undefined || start >= OWN_PAGES) return [];
    return start >= WINDOW.end || end <= WINDOW.start ? [start, end - 4096n] : [];
  });
}

test.serial("nothing of the monitor's memory is in reach", async (t) => {
  t.timeout(600_000);
  const child = execa(KM, [...DEVICE_OPTIONS, DOORS, "peek"], {
    env: ENVIRONMENT,
    extendEnv: false,
    reject: false,
  });
  const lines = child.iterable()[Symbol.asyncIterator]();
  t.is((await lines.next()).value, "ready");
  const addresses = [...new Set([...monitorAddresses(child.pid as number), ...ELSEWHERE])];
  t.true(addresses.length > 20, `${addresses.length} addresses`);
  for (const address of addresses) {
    const hex = address.toString(16);
    child.stdin.write(`${hex}\n`);
    t.is((await lines.next()).value, `${hex} load 0 store 0 jump 0 out 0 in 0`);
  }
  // The same questions about memory of the payload's own have other answers.
  child.stdin.end("400000\n");
  t.is((await lines.next()).value, "400000 load 1 store 0 jump 0 out 1 in 0");
  t.is((await lines.next()).value, "went on");
  t.is((await child).exitCode, 0);
});

/** Processes of which `pid` is the parent. */
function children(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const fields = readFileSync(`/proc/${name}/stat`, "latin1")
          .replace(/^.*\) /s, "")
          .split(" ");
        return Number(fields[1]) === pid;
      } catch {
        return false; // gone meanwhile
      }
    })
    .map(Number);
}

function alive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}

/** Of nobody: the payload kills all there is of it. */
const LONELY_USER = 54321;

/** Why it cannot be tried here: another user must be had, and must get at the device. */
function notLonely(): string | undefined {
  if (process.getuid?.() !== 0) return "as root only: needs a user of its own";
  const group = existsSync(DEVICE) ? statSync(DEVICE).mode & 0o060 : 0;
  return group === 0o060 ? undefined : `${DEVICE} is not open to its group`;
}

const unlonely = notLonely();
(unlonely === undefined ? test.serial : test.serial.skip)(
  `a payload that kills everybody goes on itself${unlonely ? ` (${unlonely})` : ""}`,
  async (t) => {
    t.timeout(300_000);
    // the device's group, so that this user may open it
    const group = statSync(DEVICE).gid;
    const alone = ["setpriv", `--reuid=${LONELY_USER}`, `--regid=${group}`, "--clear-groups"];
    await inScratch(async (directory) => {
      const [km = "", everybody = ""] = copiesForAll(directory, [KM, payload("bad/everybody")]);
      const native = await here.run({ command: [...alone, everybody], cwd: "/", seconds: 60 });
      const command = [...alone, km, ...DEVICE_OPTIONS, everybody];
      const under = await here.run({ command, cwd: "/", seconds: 120 });
      t.is(native.stdout.toString().split("\n").at(-2), "went on");
      t.is(under.stdout.toString(), native.stdout.toString(), under.stderr);
      t.is(under.status, 0);
    });
  },
);

test.serial("what helps the monitor dies with it", async (t) => {
  t.timeout(300_000);
  const child = execa(KM, [...DEVICE_OPTIONS, DOORS, "peek"], {
    env: ENVIRONMENT,
    extendEnv: false,
    reject: false,
  });
  t.is((await child.iterable()[Symbol.asyncIterator]().next()).value, "ready");
  const helpers = children(child.pid as number);
  child.kill("SIGKILL");
  t.is((await child).signal, "SIGKILL");
  for (let i = 0; i < 600 && helpers.some(alive); i++) await sleep(100);
  t.deepEqual(helpers.filter(alive), []);
});

test.serial("no descriptor of the monitor is behind any door", async (t) => {
  t.timeout(600_000);
  const doors = payload("bad/descriptor_doors");
  const planted = await here.run({ command: [doors, "planted"], cwd: "/", seconds: 60 });
  const found = planted.stdout.toString().match(/^OPEN /gm)?.length ?? 0;
  t.true(found >= 28, `natively each door shows a planted one: ${planted.stdout}`);
  const outcome = await here.run({
    command: [KM, "-k", "none", ...DEVICE_OPTIONS, doors],
    cwd: "/",
    seconds: 300,
  });
  t.is(outcome.stdout.toString(), "done\n");
  t.is(outcome.status, 0, outcome.stderr);
});

const shell = (options: readonly string[], script: string, cwd = "/"): Promise<Outcome> =>
  here.run({ command: [KM, ...options, ...DEVICE_OPTIONS, "/bin/sh", "-c", script], cwd, seconds: 120 });

/** The lines of /proc/self/status about it: of a shell, of its child, and of the program it turns into. */
const FILTERS = "grep -E '^(NoNewPrivs|Seccomp_filters):' /proc/self/status";

test.serial("the filter is on, gains nothing back, and does not grow over fork and exec", async (t) => {
  const native = await here.run({ command: ["/bin/sh", "-c", FILTERS], cwd: "/", seconds: 60 });
  const before = Number(/Seccomp_filters:\s+(\d+)/.exec(native.stdout.toString())?.[1] ?? 0);
  const { stdout, stderr } = await shell(
    [],
    `${FILTERS}; /bin/sh -c "${FILTERS}; ${FILTERS}"; exec ${FILTERS}`,
  );
  const wanted = `NoNewPrivs:\t1\nSeccomp_filters:\t${before + 1}\n`;
  t.is(stdout.toString(), wanted.repeat(4), stderr);
  const off = await shell(["--seccomp=off"], FILTERS);
  t.is(off.stdout.toString(), `NoNewPrivs:\t1\nSeccomp_filters:\t${before}\n`);
});

test.serial("rights can be dropped under no_new_privs", async (t) => {
  if (process.getuid?.() !== 0) return void t.pass("only root has rights to drop");
  const { stdout, stderr } = await shell(
    [],
    "setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'id -u; id -g'",
  );
  t.is(stdout.toString(), "65534\n65534\n", stderr);
});

test.serial("a namespace of users is not to be had, with and without the filter", async (t) => {
  for (const options of [[], ["--seccomp=off"]]) {
    const { status, stderr } = await shell(options, "unshare --user true");
    t.is(status, 1);
    t.regex(stderr, /unshare failed: Operation not permitted/);
  }
});

const MISSING = /--landlock: this kernel has no Landlock/;

test.serial("--landlock limits files, for all that is started as well", async (t) => {
  await inScratch(async (directory) => {
    const inside = `${directory}/in`;
    const script = `
      mkdir ${inside}/made && echo text > ${inside}/made/file && cat ${inside}/made/file
      (cat ${directory}/secret || echo no reading) 2>/dev/null
      (echo x > ${directory}/new || echo no writing) 2>/dev/null
      (echo x > /usr/new || echo no writing below a folder to read) 2>/dev/null
      (ls ${directory} || echo no listing) 2>/dev/null
      (mv ${inside}/made/file ${directory}/moved || echo no moving) 2>/dev/null
      (/bin/sh -c 'cat ${directory}/secret' || echo no reading in a child) 2>/dev/null
      (mount -t tmpfs none ${inside} || echo no mounting) 2>/dev/null
      exec /bin/sh -c 'cat ${directory}/secret 2>/dev/null || echo no reading after exec'`;
    await here.run({
      command: ["/bin/sh", "-c", "mkdir in; echo secret > secret"],
      cwd: directory,
      seconds: 60,
    });
    const rules = ["/usr:ro", "/lib:ro", "/lib64:ro", "/etc:ro", "/dev/null:rw", `${inside}:rw`];
    const outcome = await shell(
      rules.map((rule) => `--landlock=${rule}`),
      script,
    );
    if (MISSING.test(outcome.stderr)) return void t.log(`not tried: ${outcome.stderr}`);
    t.deepEqual(outcome.stdout.toString().trim().split("\n"), [
      "text",
      "no reading",
      "no writing",
      "no writing below a folder to read",
      "no listing",
      "no moving",
      "no reading in a child",
      "no mounting",
      "no reading after exec",
    ]);
    const without = await shell([], `cat ${directory}/secret`);
    t.is(without.stdout.toString(), "secret\n", "the rules and nothing else kept it");
  });
  t.pass();
});

test.serial("--landlock leaves the log to what is executed", async (t) => {
  await inScratch(async (directory) => {
    const log = `${directory}/log`;
    const folders = ["/usr:ro", "/lib:ro", "/lib64:ro", "/etc:ro", "/dev/null:rw"];
    const rules = folders.map((rule) => `--landlock=${rule}`);
    const options = [...rules, "-Vexec", "-k", log];
    const script = `(echo x >> ${log} || echo no writing) 2>/dev/null; exec /bin/sh -c 'exec /bin/echo ran'`;
    const outcome = await shell(options, script);
    if (MISSING.test(outcome.stderr)) return void t.log(`not tried: ${outcome.stderr}`);
    t.is(outcome.stdout.toString(), "no writing\nran\n", outcome.stderr);
    t.regex(readFileSync(log, "utf8"), / exec \/bin\/echo$/m, "said by the shell that was executed");
  });
  t.pass();
});

test.serial("--landlock names what it cannot use", async (t) => {
  const missing = await shell(["--landlock=/no/such/folder:ro"], "true");
  t.regex(
    missing.stderr,
    /^km: --landlock: (\/no\/such\/folder: No such file or directory|this kernel)[^\n]*\n$/,
  );
  t.is(missing.status, 1);
});
