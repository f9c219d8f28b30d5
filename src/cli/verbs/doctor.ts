// SPDX-License-Identifier: Apache-2.0
import { resolve } from "node:path";
import type { Check } from "../../doctor/check.js";
import { CHECKS } from "../../doctor/checks.js";
import { DEFAULT_PREFIX } from "../../installer/facts.js";
import { UsageError, type Verb } from "../verb.js";

interface Options {
  prefix: string;
  json?: boolean;
  list?: boolean;
  only?: string;
  all?: boolean;
  strict?: boolean;
  offline?: boolean;
  bundle?: string;
}

/** Checks whose id is, or begins with, one of the words. */
function chosen(only: string | undefined): readonly Check[] {
  if (only === undefined) return CHECKS;
  const words = only.split(",").map((word) => word.trim().toUpperCase());
  for (const word of words) {
    if (!word || !CHECKS.some(({ id }) => id === word || id.startsWith(`${word}-`))) {
      throw new UsageError(`--only: no check is named '${word}'; \`kontain doctor --list\` has them`);
    }
  }
  return CHECKS.filter(({ id }) => words.some((word) => id === word || id.startsWith(`${word}-`)));
}

function print(lines: string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(""));
}

async function examine(options: Options, checks: readonly Check[]): Promise<void> {
  const { realContext } = await import("../../doctor/context.js");
  const { exitStatus, runChecks } = await import("../../doctor/run.js");
  const { reportLines, summary } = await import("../../doctor/report.js");
  const context = await realContext(resolve(options.prefix), options.offline ?? false);
  const results = await runChecks(checks, context);
  const warned = options.strict && results.some(({ verdict }) => verdict === "warn");
  process.exitCode = exitStatus(results) || (warned ? 1 : 0);
  if (options.bundle !== undefined) {
    const { writeBundle } = await import("../../doctor/bundle.js");
    await writeBundle(resolve(options.bundle), context, results);
    print([`${resolve(options.bundle)}: ${summary(results)}`]);
  } else if (options.json) {
    print([JSON.stringify({ version: context.facts.bundle.version, prefix: context.prefix, results })]);
  } else {
    const color = Boolean(process.stdout.isTTY) && !process.env.NO_COLOR && process.env.TERM !== "dumb";
    print(reportLines(results, { color, all: options.all ?? false }));
  }
}

export const doctorVerb: Verb = (program) => {
  program
    .command("doctor")
    .description("what stands between this machine and a running program, and what to do about it")
    .option("--only <ids>", "some checks or groups, with commas between (KKM-DEV-003,KKM-MON)")
    .option("--list", "the checks there are")
    .option("--all", "show also what does not apply here")
    .option("--strict", "warnings count as failures")
    .option("--json", "as JSON")
    .option("--bundle <file>", "write results and facts for a report, without names and secrets (.json.gz)")
    .option("--offline", "ask no metadata service")
    .option("--prefix <dir>", "where the installation is", DEFAULT_PREFIX)
    .addHelpText(
      "after",
      "\nExit status: 0 nothing failed, 1 something did, 2 a check crashed or wrong usage.",
    )
    .action(async (options: Options) => {
      const checks = chosen(options.only);
      if (!options.list) return examine(options, checks);
      const { listLines } = await import("../../doctor/report.js");
      print(
        options.json
          ? [JSON.stringify(checks.map(({ id, title, fix }) => ({ id, title, fix })))]
          : listLines(checks),
      );
    });
};
