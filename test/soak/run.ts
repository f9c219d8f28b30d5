// SPDX-License-Identifier: Apache-2.0
// Runs one payload for long and compares what it and its monitor hold early on and at the end.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { DEVICE_OPTIONS } from "../helpers/device.js";
import { KM } from "../helpers/paths.js";
import { payload } from "../helpers/payloads.js";
import { http, Line } from "../servers/clients.js";
import { family, type Holdings, holdings } from "../servers/processes.js";
import { freePort, listening } from "../servers/running.js";
import { CONNECTIONS } from "./table.js";

export interface Held extends Holdings {
  readonly threads: number;
  /** Resident memory, MiB; what processes share counts for each. */
  readonly residentMiB: number;
}

export interface Soaked {
  readonly early: Held;
  readonly end: Held;
  readonly seconds: number;
}

/** A number of /proc/PID/status, 0 when the process has ended meanwhile. */
function field(pid: number, name: string): number {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, "latin1");
  } catch {
    return 0;
  }
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
}

/** What `pid` and every process below it hold together. */
export function held(pid: number): Held {
  const sum = (name: string) => family(pid).reduce((all, one) => all + field(one, name), 0);
  return { ...holdings(pid), threads: sum("Threads"), residentMiB: sum("VmRSS") / 1024 };
}

/** Memory allocators keep some of what they were given back. */
const SLACK_MIB = 24;

/** How many more of each are no growth; none of what is not named. */
export type Slack = Partial<Record<"vcpus" | "threads", number>>;

/** One for each thread that ever ran beside others; the payload has at most this many besides its first. */
const SLACK: Slack = { vcpus: 4 };

/** What grew between the two looks; empty when nothing did. */
export function growth({ early, end }: Soaked, slack = SLACK): string[] {
  const grown: string[] = [];
  for (const what of ["processes", "descriptors", "vcpus", "threads"] as const) {
    const more = what === "vcpus" || what === "threads" ? (slack[what] ?? 0) : 0;
    if (end[what] > early[what] + more) grown.push(`${what}: ${early[what]}, then ${end[what]}`);
  }
  if (end.residentMiB > early.residentMiB + SLACK_MIB)
    grown.push(`resident MiB: ${early.residentMiB.toFixed(1)}, then ${end.residentMiB.toFixed(1)}`);
  return grown;
}

const km = (command: readonly string[]): [string, string[]] => [KM, [...DEVICE_OPTIONS, ...command]];

const SETTLE_MS = 30_000;

/** What `pid` holds when all it does not need has gone, as far as it goes: a thread's end takes its time. */
export async function settled(pid: number, early: Held, slack = SLACK): Promise<Held> {
  for (const since = Date.now(); ; await sleep(50)) {
    const end = held(pid);
    if (growth({ early, end, seconds: 0 }, slack).length === 0 || Date.now() - since > SETTLE_MS) return end;
  }
}

/**
 * The payload's `steps` under km.
 * @param seconds bound; a run that takes longer hangs
 */
export async function soak(kind: string, steps: number, seconds: number): Promise<Soaked> {
  const begin = Date.now();
  const [program, args] = km([payload("soak/soak"), kind, String(steps)]);
  const child = execa(program, args, { timeout: seconds * 1000, killSignal: "SIGKILL", reject: false });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const reach = async (where: string) => {
    const line = await lines.next();
    if (line.value !== where) throw new Error(`${kind}: ${(await child).stderr || "ended early"}`);
  };
  const go = () => child.stdin.write("x");
  const pid = child.pid as number;
  try {
    await reach("warm");
    const early = held(pid);
    go();
    await reach("end");
    const end = await settled(pid, early);
    go();
    const { exitCode, stderr } = await child;
    if (exitCode !== 0) throw new Error(`${kind}: status ${exitCode}: ${stderr}`);
    return { early, end, seconds: (Date.now() - begin) / 1000 };
  } finally {
    child.kill("SIGKILL");
  }
}

/** Opens `count` connections to a server on `port`, asks on each, then once more on each, and closes them. */
async function everybody(count: number, port: number): Promise<void> {
  const lines = await Promise.all(Array.from({ length: count }, () => Line.open(port)));
  try {
    for (const round of [0, 1]) await Promise.all(lines.map((line, client) => http(line, client, round)));
  } finally {
    for (const line of lines) line.close();
  }
}

/** `count` connections at once to a Go server under km, three times over. */
export async function connections(count: number, seconds: number): Promise<Soaked> {
  const begin = Date.now();
  const port = await freePort();
  const [program, args] = km([payload("go/server"), String(port)]);
  const child = execa(program, args, { timeout: seconds * 1000, killSignal: "SIGKILL", reject: false });
  const pid = child.pid as number;
  try {
    await listening(port, child);
    await everybody(count, port);
    await sleep(3000); // nothing tells when the last connection is closed on that side, too
    const early = held(pid);
    await everybody(count, port);
    await everybody(count, port);
    return { early, end: await settled(pid, early, CONNECTIONS.slack), seconds: (Date.now() - begin) / 1000 };
  } finally {
    child.kill("SIGKILL");
    await child;
  }
}
