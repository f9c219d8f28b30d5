// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from "node:timers/promises";
import { ask, counters } from "../../monitor/registry.js";
import { bytes, duration, socketOf, table } from "../machines.js";
import { UsageError, type Verb } from "../verb.js";

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
      const after = await counters(socket);
      const status = await ask(socket, "status");
      const calls = Object.entries(after)
        .map(([name, now]) => ({
          name,
          calls: now.calls - (before[name]?.calls ?? 0),
          errors: now.errors - (before[name]?.errors ?? 0),
          ns: now.ns - (before[name]?.ns ?? 0),
        }))
        .filter((row) => row.calls > 0)
        .sort((a, b) => b.calls - a.calls);
      const { ok: _, ...rest } = status;
      if (options.json) return console.log(JSON.stringify({ ...rest, seconds, calls }, null, 2));
      console.log(
        `pid ${pid}: ${bytes(Number(status.memoryBytes))}, ${status.vcpus} vCPU, ` +
          `${duration(Number(status.cpuMs))} CPU, up ${duration(Number(status.uptimeMs))}`,
      );
      const rows = calls.map((row) => [
        String(Math.round(row.calls / seconds)),
        String(row.errors),
        (row.ns / row.calls / 1000).toFixed(1),
        row.name,
      ]);
      for (const line of table([["CALLS/S", "ERRORS", "US/CALL", "SYSTEM CALL"], ...rows])) console.log(line);
    });
};
