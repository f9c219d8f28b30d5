// SPDX-License-Identifier: Apache-2.0
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { DEFAULT_PREFIX } from "../../installer/facts.js";
import { install, uninstall } from "../../installer/install.js";
import { EXIT_STATUS, type Reporter } from "../../installer/ui/events.js";
import { jsonReporter, plainReporter } from "../../installer/ui/plain.js";
import { consent, interruption, UsageError, type Verb } from "../verb.js";

interface Options {
  prefix: string;
  device?: string;
  yes?: boolean;
  input?: boolean;
  json?: boolean;
  dryRun?: boolean;
}

function prefixOf(options: Options): string {
  const prefix = resolve(options.prefix);
  if (options.prefix === "" || prefix === "/") {
    throw new UsageError(`--prefix '${options.prefix}': name a folder of its own, e.g. ${DEFAULT_PREFIX}`);
  }
  return prefix;
}

function reporterOf(options: Options): Reporter {
  const out = (text: string) => process.stdout.write(text);
  return options.json ? jsonReporter(out) : plainReporter(out, (text) => process.stderr.write(text));
}

function addCommonOptions(command: Command): Command {
  return command
    .addOption(new Option("--prefix <dir>", "where the files go").default(DEFAULT_PREFIX))
    .option("-y, --yes", "do not ask before changing anything")
    .option("--no-input", "never ask; without --yes nothing is changed")
    .option("--json", "one JSON event a line");
}

/** Makes `command` the installer. */
export function defineInstall(command: Command): Command {
  return addCommonOptions(command)
    .description("install km on this machine and prove it by running a program in a virtual machine")
    .option("--device <path>", "virtualization device to use (default: the first that works)")
    .option("-n, --dry-run", "show what would be done, and do nothing")
    .addHelpText(
      "after",
      "\nExit status: 0 done, 1 failed, 2 wrong usage, 3 this host cannot, 4 not agreed to, 130 interrupted.",
    )
    .action(async (options: Options) => {
      // Folders of an installation are for every user of the machine, whatever the caller's umask.
      process.umask(0o022);
      const outcome = await install({
        wishes: { prefix: prefixOf(options), ...(options.device ? { device: resolve(options.device) } : {}) },
        report: reporterOf(options),
        dryRun: options.dryRun ?? false,
        consent: () => consent("Go ahead?", options),
        signal: interruption(),
      });
      process.exitCode = EXIT_STATUS[outcome];
    });
}

function defineUninstall(command: Command): Command {
  return addCommonOptions(command)
    .description("take an installation back, leaving every file as it was before")
    .action(async (options: Options) => {
      const prefix = prefixOf(options);
      const outcome = await uninstall({
        prefix,
        report: reporterOf(options),
        consent: () => consent(`Remove the installation in ${prefix}?`, options),
        signal: interruption(),
      });
      process.exitCode = EXIT_STATUS[outcome];
    });
}

export const installVerb: Verb = (program) => void defineInstall(program.command("install"));
export const uninstallVerb: Verb = (program) => void defineUninstall(program.command("uninstall"));
