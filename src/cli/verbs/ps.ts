// SPDX-License-Identifier: Apache-2.0
import { surveyMachines } from "../../monitor/registry.js";
import { MACHINE_HEAD, machineRow, table } from "../machines.js";
import { interruption, UsageError, type Verb } from "../verb.js";
import { printChanges } from "../watch/changes.js";

interface Options {
  json?: boolean;
  watch?: boolean;
  interval: string;
}

async function list(json: boolean): Promise<void> {
  const { machines, silent } = await surveyMachines();
  for (const { pid, error } of silent) console.error(`kontain: pid ${pid} does not answer: ${error.message}`);
  if (json) console.log(JSON.stringify(machines, null, 2));
  else for (const line of table([MACHINE_HEAD, ...machines.map(machineRow)])) console.log(line);
}

async function watch(milliseconds: number, json: boolean): Promise<void> {
  const signal = interruption();
  const terminal = process.stdout.isTTY && process.env.TERM !== "dumb" && !json;
  if (!terminal) return printChanges(signal, milliseconds, json);
  process.env.NODE_ENV ??= "production"; // React's other build checks itself, slowly
  // Only here: no other verb has to wait for React.
  const { watchTerminal } = await import("../watch/terminal.js");
  await watchTerminal(signal, milliseconds);
}

export const psVerb: Verb = (program) => {
  program
    .command("ps")
    .description("the machines that run on this host, however they were started")
    .option("--json", "as JSON; with --watch one object for each change")
    .option("-w, --watch", "a live table; without a terminal, a line for each change")
    .option("-n, --interval <seconds>", "how often --watch looks", "1")
    .action(async (options: Options) => {
      const seconds = Number(options.interval);
      if (!(seconds >= 0.1 && seconds <= 3600))
        throw new UsageError("--interval must be between 0.1 and 3600 seconds");
      await (options.watch ? watch(seconds * 1000, options.json ?? false) : list(options.json ?? false));
    });
};
