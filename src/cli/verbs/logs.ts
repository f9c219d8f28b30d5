// SPDX-License-Identifier: Apache-2.0
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { machineStatus } from "../../monitor/protocol.js";
import { socketOf } from "../machines.js";
import { interruption, type Verb } from "../verb.js";
import { printStream } from "./trace.js";

const FOLLOW_MS = 250;

/** Prints a file, and with a signal what is added to it while the machine lives. */
async function printFile(path: string, socket: string, signal?: AbortSignal): Promise<void> {
  let at = 0;
  for (;;) {
    // Asked before the file is read: what a machine wrote before it ended is not lost.
    const alive =
      signal !== undefined && !signal.aborted && (await machineStatus(socket).catch(() => undefined));
    const { size } = await stat(path);
    if (size > at) {
      for await (const chunk of createReadStream(path, { start: at, end: size - 1 }))
        process.stdout.write(chunk);
      at = size;
    }
    if (!alive) return;
    await sleep(FOLLOW_MS);
  }
}

export const logsVerb: Verb = (program) => {
  program
    .command("logs")
    .argument("<pid>", "of `kontain ps`")
    .description("what a machine wrote with --log-to, or else its monitor's log")
    .option("-f, --follow", "go on while it runs")
    .action(async (pid: string, options: { follow?: boolean }) => {
      const socket = await socketOf(pid);
      const { output, log } = await machineStatus(socket);
      const file = [output, log].find((name) => name.startsWith("/"));
      if (file) return printFile(file, socket, options.follow ? interruption() : undefined);
      if (options.follow) return printStream(socket, "follow");
      process.stderr.write(
        "kontain: this machine keeps no log file (km --log-to, --km-log-to); --follow shows its log\n",
      );
      process.exitCode = 1;
    });
};
