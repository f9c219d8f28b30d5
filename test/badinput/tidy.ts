// SPDX-License-Identifier: Apache-2.0
// Runs km and looks afterwards at what it left: files, processes, entries in the registry of running monitors.
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ExecutionContext } from "ava";
import { execa } from "execa";
import { inScratch, KM } from "../helpers/paths.js";
import { ENVIRONMENT } from "../helpers/place.js";

export interface Trial {
  /** Options, program and arguments for km. */
  readonly args: readonly string[];
  /** Makes the whole command line out of km's, for prefixes such as prlimit; default: km's own. */
  readonly wrap?: (km: readonly string[]) => readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Prepares the working directory; what is there afterwards does not count as left behind. */
  readonly prepare?: (directory: string) => void;
  readonly seconds?: number;
}

export interface Verdict {
  readonly status: number | string;
  readonly stdout: string;
  readonly stderr: string;
  /** What was still there two seconds later. */
  readonly left: readonly string[];
}

const REGISTRY = "/run/kontain";

function entries(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Processes whose environment holds `mark`. */
function marked(mark: string): string[] {
  return entries("/proc").filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/environ`, "latin1").includes(mark);
    } catch {
      return false;
    }
  });
}

async function remains(
  mark: string,
  directories: readonly string[],
  before: Set<string>,
  pid: number,
): Promise<string[]> {
  let left: string[] = [];
  for (let i = 0; i < 20; i++) {
    left = [
      ...marked(mark).map((name) => `process ${name}`),
      ...directories
        .flatMap((directory) => entries(directory).map((name) => join(directory, name)))
        .filter((path) => !before.has(path)),
      ...entries(REGISTRY).filter((name) => name.startsWith(`${pid}-`) && !before.has(join(REGISTRY, name))),
    ];
    if (left.length === 0) break;
    await sleep(100);
  }
  return left;
}

export function trial({ args, wrap, env, prepare, seconds }: Trial): Promise<Verdict> {
  return inScratch(async (scratch) => {
    const work = join(scratch, "work");
    const temporary = join(scratch, "tmp");
    for (const directory of [work, temporary]) mkdirSync(directory);
    prepare?.(work);
    // The registry may hold what a killed monitor with the same pid left long ago.
    const before = new Set(
      [work, REGISTRY].flatMap((directory) => entries(directory).map((name) => join(directory, name))),
    );
    const mark = `KM_TEST_MARK=${scratch}`;
    const [program, ...rest] = wrap ? wrap([KM, ...args]) : [KM, ...args];
    if (program === undefined) throw new Error("an empty command");
    const child = execa(program, rest, {
      cwd: work,
      env: { ...ENVIRONMENT, TMPDIR: temporary, KM_TEST_MARK: scratch, ...env },
      extendEnv: false,
      stdin: "ignore",
      reject: false,
      stripFinalNewline: false,
      timeout: (seconds ?? 60) * 1000,
      killSignal: "SIGKILL",
    });
    const done = await child;
    const status = done.timedOut ? "timeout" : (done.signal ?? done.exitCode ?? done.code ?? "not started");
    const left = await remains(mark, [work, temporary], before, child.pid ?? 0);
    return { status, stdout: done.stdout, stderr: done.stderr, left };
  });
}

/** Asserts that km refused with one line that matches, and left nothing. */
export function refused(t: ExecutionContext, verdict: Verdict, status: number | string, why: RegExp): void {
  t.is(verdict.status, status, verdict.stderr);
  t.is(verdict.stdout, "");
  t.regex(verdict.stderr, /^km: [^\n]+\n$/, "one line");
  t.regex(verdict.stderr, why);
  t.deepEqual(verdict.left, [], "nothing is left behind");
}
