// SPDX-License-Identifier: Apache-2.0
import { resolve } from "node:path";
import { upgrade } from "../../installer/upgrade.js";
import { UsageError, type Verb } from "../verb.js";
import { addCommonOptions, type InstallerOptions, onScreen, prefixOf } from "./install.js";

interface Options extends InstallerOptions {
  from: string;
  sha256?: string;
}

async function runUpgrade(options: Options): Promise<void> {
  const { sha256 } = options;
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new UsageError(`--sha256 '${sha256}': 64 hexadecimal digits, as sha256sum prints them`);
  }
  const wishes = { prefix: prefixOf(options), ...(options.offline ? { offline: true } : {}) };
  const asked = {
    file: resolve(options.from),
    ...(sha256 ? { sha256 } : {}),
    wishes,
    dryRun: options.dryRun ?? false,
  };
  await onScreen(options, "Go ahead?", (door) => upgrade({ ...asked, ...door }));
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
