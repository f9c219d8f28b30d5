// SPDX-License-Identifier: Apache-2.0
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { DEFAULT_PREFIX, KKM, KVM } from "../../installer/facts.js";
import { install, uninstall } from "../../installer/install.js";
import { EXIT_STATUS, type Outcome, type Reporter } from "../../installer/ui/events.js";
import { jsonReporter, plainReporter } from "../../installer/ui/plain.js";
import { consent, interruption, UsageError, type Verb } from "../verb.js";

export interface InstallerOptions {
  prefix: string;
  device?: string;
  yes?: boolean;
  input?: boolean;
  json?: boolean;
  dryRun?: boolean;
  offline?: boolean;
  verbose?: boolean;
  uninstall?: boolean;
}

/** Shows events, and asks. */
interface Screen {
  report: Reporter;
  /** No when `signal` comes first. */
  consent: (question: string, signal: AbortSignal) => Promise<boolean>;
  /** The last event was shown. */
  close: () => Promise<void>;
}

export function prefixOf(options: InstallerOptions): string {
  const prefix = resolve(options.prefix);
  if (options.prefix === "" || prefix === "/") {
    throw new UsageError(`--prefix '${options.prefix}': name a folder of its own, e.g. ${DEFAULT_PREFIX}`);
  }
  return prefix;
}

/** undefined: the best there is. */
function deviceOf({ device }: InstallerOptions): string | undefined {
  if (device === undefined || device === "auto") return undefined;
  if (device === "kvm") return KVM;
  if (device === "kkm") return KKM;
  if (device.startsWith("/")) return resolve(device);
  throw new UsageError(`--device '${device}': say kvm, kkm, auto, or a path such as /dev/kvm`);
}

/** Whether a terminal is there that can be drawn on. */
function canDraw(options: InstallerOptions): boolean {
  const { TERM, CI } = process.env;
  return Boolean(process.stdout.isTTY) && !options.json && !options.verbose && TERM !== "dumb" && !CI;
}

async function screenOf(options: InstallerOptions): Promise<Screen> {
  if (canDraw(options)) {
    // The library that colours asks for this variable only (https://no-color.org has the other one).
    if (process.env.NO_COLOR) process.env.FORCE_COLOR = "0";
    // Loaded only here: scripts need not wait for it.
    const { openTerminal } = await import("../../installer/ui/ink/terminal.js");
    const mayAsk = options.input !== false && Boolean(process.stdin.isTTY);
    return openTerminal({ yes: options.yes ?? false, mayAsk });
  }
  const out = (text: string) => process.stdout.write(text);
  const err = (text: string) => process.stderr.write(text);
  const report = options.json
    ? jsonReporter(out)
    : plainReporter(out, err, { verbose: options.verbose ?? false });
  return { report, consent: (question, signal) => consent(question, options, signal), close: async () => {} };
}

export function addCommonOptions(command: Command): Command {
  return command
    .addOption(new Option("--prefix <dir>", "where the files go").default(DEFAULT_PREFIX))
    .option("-y, --yes", "do not ask before changing anything")
    .option("--no-input", "never ask; without --yes nothing is changed")
    .option("--json", "one JSON event a line")
    .option("-v, --verbose", "list every file, and show what commands print");
}

/** What every change of a host is given. */
interface Door {
  report: Reporter;
  consent: () => Promise<boolean>;
  signal: AbortSignal;
}

/** Shows what `work` does, asks `question` before it changes anything, and sets the exit status. */
export async function onScreen(
  options: InstallerOptions,
  question: string,
  work: (door: Door) => Promise<Outcome>,
): Promise<void> {
  // Folders of an installation are for every user of the machine, whatever the caller's umask.
  process.umask(0o022);
  const signal = interruption();
  const screen = await screenOf(options);
  const consent = () => screen.consent(question, signal);
  try {
    const outcome = await work({ report: screen.report, consent, signal });
    process.exitCode = EXIT_STATUS[outcome];
  } finally {
    await screen.close();
  }
}

function runUninstall(options: InstallerOptions): Promise<void> {
  const prefix = prefixOf(options);
  return onScreen(options, `Remove the installation in ${prefix}?`, (door) => uninstall({ prefix, ...door }));
}

function runInstall(options: InstallerOptions): Promise<void> {
  const device = deviceOf(options);
  const wishes = {
    prefix: prefixOf(options),
    ...(device ? { device } : {}),
    ...(options.offline ? { offline: true } : {}),
  };
  const dryRun = options.dryRun ?? false;
  return onScreen(options, "Go ahead?", (door) => install({ wishes, dryRun, ...door }));
}

/** Makes `command` the installer. */
export function defineInstall(command: Command): Command {
  return addCommonOptions(command)
    .description("install km on this machine and prove it by running a program in a virtual machine")
    .option(
      "--device <kvm|kkm|auto|path>",
      "device to use (default auto: the first that works, else KKM is built)",
    )
    .option("--offline", "fetch no packages, ask no metadata service")
    .option("-n, --dry-run", "show what would be done, and do nothing")
    .option("--uninstall", "take an installation back (the same as `kontain uninstall`)")
    .addHelpText(
      "after",
      "\nExit status: 0 done, 1 failed, 2 wrong usage, 3 this host cannot, 4 not agreed to, 130 interrupted.",
    )
    .action((options: InstallerOptions) => (options.uninstall ? runUninstall(options) : runInstall(options)));
}

function defineUninstall(command: Command): Command {
  return addCommonOptions(command)
    .description("take an installation back, leaving every file as it was before")
    .action(runUninstall);
}

export const installVerb: Verb = (program) => void defineInstall(program.command("install"));
export const uninstallVerb: Verb = (program) => void defineUninstall(program.command("uninstall"));
