// SPDX-License-Identifier: Apache-2.0
import { resolve } from "node:path";
import { EXIT_STATUS } from "../../installer/ui/events.js";
import { upgrade } from "../../installer/upgrade.js";
import { interruption, UsageError, type Verb } from "../verb.js";
import { addCommonOptions, type InstallerOptions, prefixOf, screenOf } from "./install.js";

interface Options extends InstallerOptions {
  from: string;
  sha256?: string;
}

async function runUpgrade(options: Options): Promise<void> {
  const { sha256 } = options;
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new UsageError(`--sha256 '${sha256}': 64 hexadecimal digits, as sha256sum prints them`);
  }
  const prefix = prefixOf(options);
  process.umask(0o022);
  const screen = await screenOf(options);
  try {
    const outcome = await upgrade({
      file: resolve(options.from),
      ...(sha256 ? { sha256 } : {}),
      wishes: { prefix, ...(options.offline ? { offline: true } : {}) },
      report: screen.report,
      dryRun: options.dryRun ?? false,
      consent: () => screen.consent("Go ahead?"),
      signal: interruption(),
    });
    process.exitCode = EXIT_STATUS[outcome];
  } finally {
    await screen.close();
  }
}

export const upgradeVerb: Verb = (program) => {
  addCommonOptions(program.command("upgrade"))
    .description(
      "replace an installation by the version in a file; if its program does not run, the old one stays",
    )
    .requiredOption("--from <file>", "a package, as `npm pack kontain-install` writes it")
    .option(
      "--sha256 <hex>",
      "what the file's SHA-256 has to be (default: what FILE.sha256 says, if it is there)",
    )
    .option("--offline", "fetch no packages, ask no metadata service")
    .option("-n, --dry-run", "show what would be done, and do nothing")
    .addHelpText(
      "after",
      "\nExit status: as `kontain install`. Back again: `kontain uninstall` removes both versions.",
    )
    .action(runUpgrade);
};
