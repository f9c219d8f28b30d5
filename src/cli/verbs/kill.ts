// SPDX-License-Identifier: Apache-2.0
import { stop } from "../../monitor/registry.js";
import { signalNumber, socketOf } from "../machines.js";
import type { Verb } from "../verb.js";

export const killVerb: Verb = (program) => {
  program
    .command("kill")
    .argument("<pid...>", "of `kontain ps`")
    .description("sends a signal to machines")
    .option("-s, --signal <name>", "TERM, KILL, 15...", "TERM")
    .action(async (pids: string[], options: { signal: string }) => {
      const signal = signalNumber(options.signal);
      const sockets = await Promise.all(pids.map(socketOf));
      await Promise.all(sockets.map((socket) => stop(socket, signal)));
    });
};
