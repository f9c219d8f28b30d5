// SPDX-License-Identifier: Apache-2.0
import { join, resolve } from "node:path";
import { execa } from "execa";
import { readJournal } from "../../installer/apply/journal.js";
import { MONITOR, packageVersion } from "../../installer/bundle.js";
import { DEFAULT_PREFIX } from "../../installer/facts.js";
import type { Verb } from "../verb.js";

interface Options {
  prefix: string;
  json?: boolean;
}

async function monitorVersion(monitor: string): Promise<string | null> {
  const result = await execa(monitor, ["--version"], { reject: false, stdin: "ignore" });
  return result.exitCode === 0 ? `${result.stdout}${result.stderr}`.trim().split("\n")[0] || null : null;
}

export const versionVerb: Verb = (program) => {
  program
    .command("version")
    .description("versions of this toolkit, of what is installed, and of the installed monitor")
    .option("--prefix <dir>", "where to look for an installation", DEFAULT_PREFIX)
    .option("--json", "as JSON")
    .action(async (options: Options) => {
      const prefix = resolve(options.prefix);
      const records = (await readJournal(prefix)) ?? [];
      const installed = records.findLast((record) => record.type === "verified");
      const monitor = installed ? await monitorVersion(join(prefix, MONITOR)) : null;
      const toolkit = await packageVersion();
      if (options.json) {
        console.log(JSON.stringify({ toolkit, prefix, installed: installed?.version ?? null, monitor }));
        return;
      }
      console.log(`kontain ${toolkit}`);
      console.log(installed ? `installed in ${prefix}: ${installed.version}` : `not installed in ${prefix}`);
      if (installed) console.log(`monitor: ${monitor ?? `${join(prefix, MONITOR)} does not start`}`);
    });
};
