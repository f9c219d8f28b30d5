// SPDX-License-Identifier: Apache-2.0
// One part of a suite, natively and under km, in the same environment.
import { spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DEVICE_OPTIONS } from "../helpers/device.js";
import { inScratch, KM } from "../helpers/paths.js";
import { ENVIRONMENT } from "../helpers/place.js";
import type { Part } from "./suite.js";
import type { Verdicts } from "./verdicts.js";

/** Marks every process of a run, so that those it leaves behind are found whatever session they went to. */
const MARK = "KONTAIN_SUITE_RUN";

export interface Run {
  readonly verdicts: Verdicts;
  /** Exit status, a signal's name, or "timeout". */
  readonly status: number | string;
  readonly seconds: number;
  readonly output: string;
}

function marked(mark: string): number[] {
  const line = `${MARK}=${mark}`;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(line);
      } catch {
        return false; // gone meanwhile, or not ours to look at
      }
    })
    .map(Number);
}

async function killMarked(mark: string): Promise<void> {
  for (let round = 0; round < 50; round++) {
    const left = marked(mark);
    if (left.length === 0) return;
    for (const pid of left) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // gone meanwhile
      }
    }
    await sleep(100);
  }
}

interface Job {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly seconds: number;
  readonly outputFile: string;
}

/** Output goes to a file: a daemon that keeps a pipe open would keep the run open. */
function execute({ command, cwd, env, seconds, outputFile }: Job): Promise<number | string> {
  const [program = "", ...args] = command;
  const out = openSync(outputFile, "w");
  return new Promise((resolve) => {
    let late = false;
    const child = spawn(program, args, { cwd, env, stdio: ["ignore", out, out], detached: true });
    closeSync(out);
    const bound = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, seconds * 1000);
    child.on("error", (error) => {
      clearTimeout(bound);
      resolve(error.message);
    });
    child.on("exit", (code, signal) => {
      clearTimeout(bound);
      resolve(late ? "timeout" : (signal ?? code ?? "unknown"));
    });
  });
}

/** Runs `part` under `prefix` (nothing: natively). Nothing it started is alive afterwards. */
async function run(part: Part, prefix: readonly string[]): Promise<Run> {
  return inScratch(async (scratch) => {
    const mark = `${process.pid}.${Date.now()}`;
    const outputFile = join(scratch, ".output");
    const started = Date.now();
    const status = await execute({
      command: [...prefix.map((word) => word.replace("{scratch}", scratch)), ...part.command],
      cwd: part.cwd ?? scratch,
      env: { ...ENVIRONMENT, ...part.env, [MARK]: mark },
      seconds: part.seconds,
      outputFile,
    });
    const seconds = (Date.now() - started) / 1000;
    await killMarked(mark);
    const output = readFileSync(outputFile, "latin1");
    return { verdicts: part.verdicts(output, status), status, seconds, output };
  });
}

export const runNatively = (part: Part): Promise<Run> => run(part, []);
export const runUnderKm = (part: Part): Promise<Run> =>
  run(part, [KM, "--km-log-to={scratch}/.km.log", ...DEVICE_OPTIONS]);
