// SPDX-License-Identifier: Apache-2.0
// Not a test: the process that kill.test.ts kills, or that kills itself at a moment it is told. Arguments: folder of the
// package, prefix, and one of: "back"; "wait", which begins when its input ends and prints how it ended; a number, the
// moment between two durable changes at which it is killed (of an installation of one file); "back" and a number. Prints a
// line when it begins.
import { buffer } from "node:stream/consumers";
import type { InstallEvent } from "../../src/installer/ui/events.js";
import { installSmall, uninstallSmall } from "./small-install.js";

const [source = "", prefix = "", ...how] = process.argv.slice(2);
const waits = how.includes("wait");
const moment = Number(how.find((word) => /^\d+$/.test(word)) ?? 0);

let count = 0;
const checkpoint = () => {
  if (++count === moment) process.kill(process.pid, "SIGKILL");
};
const report = (event: InstallEvent) => {
  if (!waits) return;
  if (event.type === "problem") process.stdout.write(`${event.problem.id}\n`);
  if (event.type === "result") process.stdout.write(`${event.outcome}\n`);
};

if (waits) {
  process.stdout.write("ready\n");
  await buffer(process.stdin);
}
process.stdout.write("begin\n");
const small = { source, prefix, report, checkpoint, ...(moment > 0 ? { targets: ["bin/km"] } : {}) };
await (how.includes("back") ? uninstallSmall(small) : installSmall(small));
process.stdout.write("end\n");
