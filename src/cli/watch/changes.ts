// SPDX-License-Identifier: Apache-2.0
// `kontain ps --watch` without a terminal: one line for each machine that appears or ends.
import { setTimeout as sleep } from "node:timers/promises";
import { listMachines, type RunningMachine } from "../../monitor/registry.js";
import { commandOf, duration, plain, userName } from "../machines.js";

type Change = "running" | "started" | "ended";

function line(change: Change, machine: RunningMachine): string {
  const time = new Date().toTimeString().slice(0, 8);
  const { uptimeMs, device } = machine.status;
  const who = `pid ${machine.pid}, ${userName(machine.uid)}, ${plain(device)}`;
  return `${time} ${change.padEnd(7)} ${who}, up ${duration(uptimeMs)}: ${commandOf(machine)}`;
}

/** Prints changes until `signal`. @param json one JSON object a line */
export async function printChanges(signal: AbortSignal, milliseconds: number, json: boolean): Promise<void> {
  const print = (change: Change, machine: RunningMachine) =>
    console.log(json ? JSON.stringify({ change, ...machine }) : line(change, machine));
  let before: Map<string, RunningMachine> | undefined;
  while (!signal.aborted) {
    const now = new Map((await listMachines()).map((machine) => [machine.socket, machine]));
    for (const [socket, machine] of before ?? []) if (!now.has(socket)) print("ended", machine);
    for (const [socket, machine] of now)
      if (!before?.has(socket)) print(before ? "started" : "running", machine);
    before = now;
    await sleep(milliseconds, undefined, { signal }).catch(() => {});
  }
}
