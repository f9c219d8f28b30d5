// SPDX-License-Identifier: Apache-2.0
// What a verb of `kontain` is, and what all of them share.
import { createInterface } from "node:readline/promises";
import type { Command } from "commander";

/** Adds itself to the program: name, options, action. An action sets process.exitCode. */
export type Verb = (program: Command) => void;

/** Wrong use of the command line: one line, exit status 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

export interface ConsentOptions {
  yes?: boolean;
  input?: boolean;
  json?: boolean;
}

/** Asks on a terminal; without one, or when not allowed to ask, the answer is what `--yes` says. Interrupted, it is no. */
export async function consent(
  question: string,
  options: ConsentOptions,
  signal: AbortSignal,
): Promise<boolean> {
  if (options.yes) return true;
  const mayAsk = options.input !== false && !options.json && process.stdin.isTTY && process.stdout.isTTY;
  if (!mayAsk) return false;
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  // In raw mode Ctrl-C is a key.
  terminal.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  // An input that ends answers nothing, ever.
  const ended = new Promise<undefined>((resolve) => terminal.once("close", () => resolve(undefined)));
  try {
    const asked = terminal.question(`${question} [y/N] `, { signal }).catch(() => undefined);
    const answer = await Promise.race([asked, ended]);
    if (answer === undefined) process.stdout.write("\n");
    return /^y(es)?$/i.test(answer?.trim() ?? "");
  } finally {
    terminal.close();
  }
}

/** A signal that Ctrl-C and SIGTERM give once; the second time they end the process as usual. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    const again = () => {
      process.off(name, again);
      process.kill(process.pid, name);
    };
    const first = () => {
      controller.abort();
      // Ink ends the process itself, and leaves the terminal as it is, when it finds nobody else listening.
      process.on(name, again);
      process.off(name, first);
    };
    process.on(name, first);
  }
  return controller.signal;
}
