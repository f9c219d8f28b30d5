// SPDX-License-Identifier: Apache-2.0
// The programs of this package and how they end: one line for what went wrong, and an exit status that says which kind.
import { Command, CommanderError } from "commander";
import { errorCode } from "../base/files.js";
import { JournalError } from "../installer/apply/journal.js";
import { UsageError, type Verb } from "./verb.js";
import { doctorVerb } from "./verbs/doctor.js";
import { defineInstall, installVerb, uninstallVerb } from "./verbs/install.js";
import { killVerb } from "./verbs/kill.js";
import { logsVerb } from "./verbs/logs.js";
import { psVerb } from "./verbs/ps.js";
import { runVerb } from "./verbs/run.js";
import { statsVerb } from "./verbs/stats.js";
import { traceVerb } from "./verbs/trace.js";
import { upgradeVerb } from "./verbs/upgrade.js";
import { versionVerb } from "./verbs/version.js";

/** Those about machines. */
const MACHINE_VERBS: Verb[] = [runVerb, psVerb, statsVerb, logsVerb, traceVerb, killVerb];

/** Every verb of `kontain`, in the order of its help. */
const VERBS: Verb[] = [installVerb, upgradeVerb, uninstallVerb, doctorVerb, versionVerb, ...MACHINE_VERBS];

const USAGE = 2;
const FAILED = 1;

function explain(error: unknown): [text: string, status: number] {
  if (error instanceof UsageError) return [error.message, USAGE];
  // Commander has printed its own message.
  if (error instanceof CommanderError) return ["", error.exitCode === 0 ? 0 : USAGE];
  if (error instanceof JournalError) return [error.message, FAILED];
  // A system error names its path; anything else is a mistake of ours, and its stack is wanted.
  if (error instanceof Error && errorCode(error)) return [error.message, FAILED];
  return [error instanceof Error ? (error.stack ?? error.message) : String(error), FAILED];
}

async function run(program: Command): Promise<void> {
  // A reader that went away (`kontain ... | head`) is no error.
  process.stdout.on("error", (error) => process.exit(errorCode(error) === "EPIPE" ? 0 : FAILED));
  try {
    await program.parseAsync();
  } catch (error) {
    const [text, status] = explain(error);
    if (text) process.stderr.write(`${program.name()}: ${text}\n`);
    process.exitCode = status;
  }
}

function programOf(name: string): Command {
  return new Command(name).exitOverride().showHelpAfterError(`(${name} --help says more)`);
}

/** `kontain VERB ...` */
export async function kontain(): Promise<void> {
  const program = programOf("kontain")
    .description("programs in virtual machines of their own, without a guest kernel")
    .enablePositionalOptions(); // what stands behind `run PROGRAM` is the program's

  for (const add of VERBS) add(program);
  await run(program);
}

/** `kontain-install`, the same as `kontain install`. */
export async function kontainInstall(): Promise<void> {
  await run(defineInstall(programOf("kontain-install")));
}
