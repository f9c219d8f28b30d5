// SPDX-License-Identifier: Apache-2.0
// One case, run natively and under km in the same directory: everything a caller can see must be the same.
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import { DEVICE_OPTIONS } from "./device.js";
import { KM } from "./paths.js";
import type { Outcome, Place } from "./place.js";

export interface Case {
  readonly name: string;
  /** Commands that must be on PATH; else the case is skipped, visibly. */
  readonly needs?: readonly string[];
  /** Shell script run once, natively, before both runs. */
  readonly setUp?: (of: Scale) => string;
  readonly command: (of: Scale) => readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** Files of the working directory that must come out the same. */
  readonly outputs?: readonly string[];
  /** What it ends with natively; default 0. Comparing two failures would prove nothing. */
  readonly status?: number;
  /** Bound on the native run and on the run under km; default 120. */
  readonly seconds?: number;
  /** The payload kills processes on purpose: km says so in lines of its own, which are not compared. */
  readonly deaths?: boolean;
  /** Why it does not run in the guest. */
  readonly notInGuest?: string;
}

/** Picks the amount of work for this place. */
export type Scale = (host: number, guest: number) => number;

/** What km says when it ends a payload that was killed by a fault. */
const COMPLAINT = /^km: .*: killed by signal .*\n/gm;

interface Seen extends Outcome {
  readonly outputs: string;
}

async function observe(place: Place, kase: Case, command: readonly string[], cwd: string): Promise<Seen> {
  const seconds = kase.seconds ?? 120;
  const outcome = await place.run({
    command,
    cwd,
    seconds,
    ...(kase.env ? { env: kase.env } : {}),
    ...(kase.stdin === undefined ? {} : { stdin: kase.stdin }),
  });
  if (!kase.outputs) return { ...outcome, outputs: "" };
  // Hashed where they are, then removed: the second run must make its own.
  const script = `sha256sum ${kase.outputs.join(" ")}; rm -f ${kase.outputs.join(" ")}`;
  const sums = await place.run({ command: ["sh", "-c", script], cwd, seconds });
  return { ...outcome, outputs: sums.stdout.toString() };
}

/** The first lines that differ: what a failed test shows, short enough to survive in a shortened log. */
function differences(km: Outcome, native: Outcome, most = 20): string[] {
  const [ours, theirs] = [km, native].map((outcome) => outcome.stdout.toString("latin1").split("\n"));
  const found: string[] = [];
  for (let i = 0; i < Math.max(ours?.length ?? 0, theirs?.length ?? 0) && found.length < most; i++) {
    if (ours?.[i] === theirs?.[i]) continue;
    found.push(
      `line ${i + 1}: km ${JSON.stringify(ours?.[i])}, native ${JSON.stringify(theirs?.[i])}`.slice(0, 500),
    );
  }
  return found;
}

/**
 * Runs `kase` at `place` natively and under km and compares.
 * @param kmOptions options for km, before the program
 */
export async function compare(
  t: ExecutionContext,
  place: Place,
  kase: Case,
  kmOptions: readonly string[] = [],
) {
  const of: Scale = (host, guest) => (place.size === "host" ? host : guest);
  await place.inScratch(async (cwd) => {
    if (kase.setUp) {
      const done = await place.run({ command: ["sh", "-ec", kase.setUp(of)], cwd, seconds: 300 });
      if (done.status !== 0) t.fail(`set-up failed: ${done.status} ${done.stderr}`);
    }
    const command = kase.command(of);
    const native = await observe(place, kase, command, cwd);
    t.is(native.status, kase.status ?? 0, `native run: ${native.stderr}`);
    const log = join(cwd, "km.log");
    const km = await observe(place, kase, [KM, "-k", log, ...DEVICE_OPTIONS, ...kmOptions, ...command], cwd);
    const parted = differences(km, native);
    t.is(km.status, native.status, ["status; stderr:", km.stderr, ...parted].join("\n"));
    if (!km.stdout.equals(native.stdout)) t.fail(["stdout differs", ...parted].join("\n"));
    const said = kase.deaths ? km.stderr.replace(COMPLAINT, "") : km.stderr;
    t.is(said, native.stderr, "stderr");
    t.is(km.outputs, native.outputs, "output files");
  });
}
