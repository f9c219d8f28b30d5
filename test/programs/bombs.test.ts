// SPDX-License-Identifier: Apache-2.0
// Bombs of processes and of threads stop where natively: at RLIMIT_NPROC of a user, at pids.max of a control group. The
// payload is told EAGAIN, what there was ends well, nothing is left, and km's own tasks leave room for the payload's.
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { DEVICE } from "../helpers/device.js";
import { copiesForAll, inScratch, KM } from "../helpers/paths.js";
import { buildPayloads, payload } from "../helpers/payloads.js";
import { here } from "../helpers/place.js";

/** Tasks that the limits leave. A payload's process may cost km up to five (itself, KVM's task, KKM's companion). */
const LIMIT = 60;
const LEAST = LIMIT / 5;
/** Some may end while others are still made. */
const MOST = 2 * LIMIT;
/** Of nobody. */
const USER = 54322;
/** A forked machine has no room for KVM's own task (Linux 6.14) and all others wait for it. */
const NO_TASK = /^km: [^:]*: no room for a task of KVM's own beside the process: raise RLIMIT_NPROC/;
const BOMBS = ["fork", "threads"] as const;

interface Limited {
  /** Put before a command. */
  readonly prefix: readonly string[];
  readonly device: string;
  /** Tasks that are there because of it. */
  readonly left: () => number;
}

type Limit = (directory: string, use: (limited: Limited) => Promise<void>) => Promise<void>;

/** Processes of the user. */
function ofUser(): number {
  return readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return new RegExp(`^Uid:\\t${USER}\\t`, "m").test(readFileSync(`/proc/${name}/status`, "utf8"));
    } catch {
      return false; // gone meanwhile
    }
  }).length;
}

const AS_USER = [
  "prlimit",
  `--nproc=${LIMIT}`,
  "setpriv",
  `--reuid=${USER}`,
  `--regid=${USER}`,
  "--clear-groups",
];

/** A node of the device that the user may open; else why not. */
async function deviceNode(directory: string): Promise<{ node: string } | { why: string }> {
  const node = join(directory, "device");
  const { rdev } = statSync(DEVICE);
  const [major, minor] = [(rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xfff00)];
  const script = `mknod -m 600 ${node} c ${major} ${minor} && chown ${USER} ${node}`;
  const made = await execa("sh", ["-ec", script], { reject: false });
  if (made.exitCode !== 0) return { why: `no node of the device can be made: ${made.stderr}` };
  const opened = await execa(AS_USER[0] as string, [...AS_USER.slice(1), "sh", "-c", `: <> ${node}`], {
    reject: false,
  });
  return opened.exitCode === 0
    ? { node }
    : { why: `a user's node of the device cannot be opened: ${opened.stderr}` };
}

const byUser: Limit = async (directory, use) => {
  const made = await deviceNode(directory);
  if ("why" in made) throw new Error(made.why);
  await use({ prefix: AS_USER, device: made.node, left: ofUser });
};

/** A control group of our own that counts tasks, or undefined where none can be made. */
function makeGroup(): string | undefined {
  const own = readFileSync("/proc/self/cgroup", "utf8").match(/^\d+:pids:(.*)$/m)?.[1];
  const parents = [...(own === undefined ? [] : [`/sys/fs/cgroup/pids${own}`]), "/sys/fs/cgroup"];
  for (const parent of parents) {
    const group = join(parent, `kontain-test-${process.pid}-${Date.now()}`);
    try {
      mkdirSync(group);
    } catch {
      continue;
    }
    try {
      writeFileSync(join(group, "pids.max"), String(LIMIT));
      return group;
    } catch {
      rmdirSync(group);
    }
  }
  return undefined;
}

const byGroup: Limit = async (_directory, use) => {
  const group = makeGroup();
  if (group === undefined) throw new Error("no control group");
  const tasks = () => readFileSync(join(group, "cgroup.procs"), "utf8").split("\n").filter(Boolean).length;
  try {
    const enter = `echo $$ > ${group}/cgroup.procs && exec "$@"`;
    await use({ prefix: ["sh", "-c", enter, "sh"], device: DEVICE, left: tasks });
  } finally {
    rmdirSync(group);
  }
};

async function nothingLeft(t: ExecutionContext, left: () => number): Promise<void> {
  for (let i = 0; i < 300 && left() > 0; i++) await sleep(100);
  t.is(left(), 0, "nothing is left");
}

async function explode(t: ExecutionContext, limit: Limit, bomb: string): Promise<void> {
  await inScratch(async (directory) => {
    const [km = "", program = ""] = copiesForAll(directory, [KM, payload("bad/bomb")]);
    await limit(directory, async ({ prefix, device, left }) => {
      for (const monitor of [[], [km, `--virt-device=${device}`]]) {
        const command = [...prefix, ...monitor, program, bomb];
        const done = await here.run({ command, cwd: "/", seconds: 180 });
        const who = monitor.length === 0 ? "natively" : "under km";
        const lost = Number(/^ended otherwise: (\d+)$/m.exec(done.stdout.toString())?.[1]);
        t.regex(
          done.stdout.toString(),
          /^refused: EAGAIN\nended otherwise: \d+\none more: 1\nbirths: \d+\n$/,
          `${who}: ${done.stderr}`,
        );
        // The one loss there may be, each said: docs/compatibility.md.
        const said = done.stderr.split("\n").filter(Boolean);
        for (const line of said) t.regex(line, NO_TASK);
        t.is(said.length, lost, who);
        if (monitor.length === 0 || bomb === "threads") t.is(lost, 0, who);
        t.is(done.status, 0, who);
        const born = Number(/births: (\d+)/.exec(done.stdout.toString())?.[1]);
        t.log(`${born} born ${who}`);
        t.true(born >= LEAST && born <= MOST, `${born} ${who}, between ${LEAST} and ${MOST}`);
        await nothingLeft(t, left);
      }
    });
  });
}

async function cannotBeUser(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "as root only: needs a user of its own";
  return inScratch(async (directory) => {
    chmodSync(directory, 0o711);
    try {
      const made = await deviceNode(directory);
      return "why" in made ? made.why.split("\n")[0] : undefined;
    } catch (error) {
      return String(error).split("\n")[0];
    }
  });
}

function cannotGroup(): string | undefined {
  if (process.getuid?.() !== 0) return "as root only: makes a control group";
  const group = makeGroup();
  if (group === undefined) return "no control group with pids.max can be made";
  rmdirSync(group);
  return undefined;
}

await buildPayloads();

const LIMITS: readonly (readonly [name: string, limit: Limit, why: string | undefined])[] = [
  ["RLIMIT_NPROC", byUser, await cannotBeUser()],
  ["pids.max", byGroup, cannotGroup()],
];

for (const [name, limit, why] of LIMITS) {
  for (const bomb of BOMBS) {
    const title = `a bomb of ${bomb === "fork" ? "processes" : "threads"} stops at ${name}`;
    if (why !== undefined) {
      test.skip(`${title} (${why})`, () => undefined);
      continue;
    }
    test.serial(title, async (t) => {
      t.timeout(900_000);
      await explode(t, limit, bomb);
    });
  }
}
