// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from "node:timers/promises";
import { counters, machineStatus } from "../../monitor/protocol.js";
import { bytes, duration, plain, socketOf, table } from "../machines.js";
import { UsageError, type Verb } from "../verb.js";
import { callRates } from "../watch/sampler.js";

interface Options {
  json?: boolean;
  seconds: string;
}

export const statsVerb: Verb = (program) => {
  program
    .command("stats")
    .argument("<pid>", "of `kontain ps`")
    .description("memory, time and system calls of a machine")
    .option("--json", "as JSON")
    .option("-s, --seconds <n>", "count system calls for so long", "1")
    .action(async (pid: string, options: Options) => {
      const seconds = Number(options.seconds);
      if (!(seconds > 0 && seconds <= 3600)) throw new UsageError("--seconds must be between 0 and 3600");
      const socket = await socketOf(pid);
      const before = await counters(socket);
      await sleep(seconds * 1000);
      const calls = callRates(before, await counters(socket), seconds);
      const status = await machineStatus(socket);
      if (options.json) return console.log(JSON.stringify({ ...status, seconds, calls }, null, 2));
      console.log(
        `pid ${pid}: ${bytes(status.memoryBytes)}, ${status.vcpus} vCPU, ` +
          `${duration(status.cpuMs)} CPU, up ${duration(status.uptimeMs)}`,
      );
      const rows = calls.map(({ name, perSecond, errors, microseconds }) => [
        perSecond.toFixed(0),
        String(errors),
        microseconds.toFixed(1),
        plain(name),
      ]);
      for (const line of table([["CALLS/S", "ERRORS", "US/CALL", "SYSTEM CALL"], ...rows])) console.log(line);
    });
};
