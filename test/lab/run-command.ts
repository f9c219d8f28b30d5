// SPDX-License-Identifier: Apache-2.0
// `lab run`: one command in a whole-root guest, its streams live on ours, its exit status ours.

import { openGuest } from "./guest.js";

export interface RunCommandOptions {
  readonly kernel: string;
  readonly cpus: number;
  readonly memory: number;
  readonly timeout: number;
  readonly cwd?: string;
  readonly env: readonly string[];
  readonly share?: string;
  readonly interactive: boolean;
  readonly log: boolean;
  readonly keep: boolean;
}

/** NAME=VALUE pairs of a command line as an object. */
export function environment(pairs: readonly string[]): Record<string, string> {
  const entries = pairs.map((pair) => {
    const at = pair.indexOf("=");
    if (at < 1) throw new Error(`--env ${pair}: write it as NAME=VALUE`);
    return [pair.slice(0, at), pair.slice(at + 1)];
  });
  return Object.fromEntries(entries);
}

/** @returns the command's exit status, 124 when it ran into its time limit */
export async function runCommand(command: readonly string[], options: RunCommandOptions): Promise<number> {
  const env = environment(options.env);
  const guest = await openGuest({
    kernel: options.kernel,
    cpus: options.cpus,
    memoryMiB: options.memory,
    keep: options.keep,
    ...(options.share ? { share: options.share } : {}),
  });
  try {
    const result = await guest.run(command, {
      env,
      timeoutSeconds: options.timeout,
      onStdout: (chunk) => process.stdout.write(chunk),
      onStderr: (chunk) => process.stderr.write(chunk),
      ...(options.cwd ? { cwd: options.cwd } : {}),
      ...(options.interactive ? { stdin: process.stdin } : {}),
    });
    if (options.log) process.stderr.write(await guest.kernelLog());
    if (!result.timedOut) return result.exitCode;
    process.stderr.write(`lab: killed after ${options.timeout} s (--timeout)\n`);
    return 124;
  } finally {
    await guest.close();
    if (options.keep) process.stderr.write(`lab: console kept in ${guest.consolePath}\n`);
  }
}
