// SPDX-License-Identifier: Apache-2.0
// Where programs run: on this machine, or in a guest of the lab that has the same files. The same cases run in both.
import { constants } from "node:os";
import { execa } from "execa";
import { EMULATED } from "./device.js";
import { inScratch } from "./paths.js";

export interface Job {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | Buffer;
  readonly seconds: number;
}

export interface Outcome {
  /** Exit status, the name of the signal that ended it, or "timeout". */
  readonly status: number | string;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface Place {
  /** Cases scale their work by it: a guest's processor is emulated. */
  readonly size: "host" | "guest";
  run(job: Job): Promise<Outcome>;
  /** Calls `use` with an empty directory of that place. */
  inScratch<T>(use: (directory: string) => Promise<T>): Promise<T>;
}

/** A small environment that is the same everywhere; test runners put much into theirs. */
export const ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: process.env.PATH ?? "/usr/bin:/bin",
  HOME: process.env.HOME ?? "/",
  LC_ALL: "C.UTF-8",
  TZ: "UTC",
};

/** How much slower the guest's emulated processor is, at most. */
export const PATIENCE = 6;

export const here: Place = {
  size: EMULATED ? "guest" : "host",
  inScratch,
  async run({ command, cwd, env, stdin, seconds }) {
    const [program, ...args] = command;
    if (program === undefined) throw new Error("an empty command");
    const done = await execa(program, args, {
      cwd,
      env: { ...ENVIRONMENT, ...env },
      extendEnv: false,
      encoding: "buffer",
      ...(stdin === undefined ? { stdin: "ignore" as const } : { input: stdin }),
      reject: false,
      stripFinalNewline: false,
      timeout: seconds * 1000 * (EMULATED ? PATIENCE : 1),
      killSignal: "SIGKILL",
      maxBuffer: 1 << 28,
    });
    const status = done.timedOut ? "timeout" : (done.signal ?? done.exitCode ?? done.code ?? "not started");
    return { status, stdout: Buffer.from(done.stdout), stderr: Buffer.from(done.stderr).toString() };
  },
};

/** "SIGSEGV" for 11. */
export function signalName(number: number): string {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found?.[0] ?? `signal ${number}`;
}
