// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from "node:timers/promises";
import { listMachines, MACHINE_HEAD, machineRow, table } from "../machines.js";
import { interruption, type Verb } from "../verb.js";

interface Options {
  json?: boolean;
  watch?: boolean;
}

const WATCH_MS = 1000;

async function show(): Promise<string[]> {
  const machines = await listMachines();
  return table([MACHINE_HEAD, ...machines.map(machineRow)]);
}

/** Redraws in place on a terminal; elsewhere prints one table after another. */
async function watch(): Promise<void> {
  const signal = interruption();
  while (!signal.aborted) {
    const lines = await show();
    const tall = process.stdout.isTTY ? lines.slice(0, Math.max(2, process.stdout.rows - 1)) : lines;
    const text = tall
      .map((line) => (process.stdout.isTTY ? line.slice(0, process.stdout.columns) : line))
      .join("\n");
    process.stdout.write(process.stdout.isTTY ? `\x1b[H\x1b[2J${text}\n` : `${text}\n\n`);
    await sleep(WATCH_MS, undefined, { signal }).catch(() => {});
  }
}

export const psVerb: Verb = (program) => {
  program
    .command("ps")
    .description("the machines that run on this host, however they were started")
    .option("--json", "as JSON")
    .option("-w, --watch", "again every second")
    .action(async (options: Options) => {
      if (options.watch) return watch();
      if (options.json) console.log(JSON.stringify(await listMachines(), null, 2));
      else for (const line of await show()) console.log(line);
    });
};
