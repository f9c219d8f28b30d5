// SPDX-License-Identifier: Apache-2.0
// What the verbs about running machines share: finding one by pid, and saying numbers.
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { type RunningMachine, socketsOf } from "../monitor/registry.js";
import { UsageError } from "./verb.js";

/** The socket of the machine with this pid. */
export async function socketOf(text: string): Promise<string> {
  const pid = Number(text);
  if (!Number.isSafeInteger(pid) || pid < 1)
    throw new UsageError(`'${text}' is not a pid; \`kontain ps\` lists them`);
  const [socket] = await socketsOf(pid);
  if (!socket) throw new UsageError(`no machine has pid ${pid}; \`kontain ps\` lists them`);
  return socket;
}

/** "TERM", "SIGTERM" or "15". */
export function signalNumber(text: string): number {
  const name = text.toUpperCase();
  const signals: Record<string, number> = constants.signals;
  const number = signals[name] ?? signals[`SIG${name}`] ?? Number(text);
  if (Number.isInteger(number) && number >= 1 && number <= 64) return number;
  throw new UsageError(`'${text}' is not a signal`);
}

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

export function duration(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${Math.floor(seconds % 60)}s`;
  return `${Math.floor(seconds / 3600)}h${Math.floor((seconds % 3600) / 60)}m`;
}

/** Names come from payloads: nothing of theirs reaches a terminal but plain characters. */
export function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return text.replace(/[\u0000-\u001f\u007f-\u009f]|\p{Cf}|\p{M}/gu, "?");
}

/** Rows as columns, the first row being the head. */
export function table(rows: string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

let names: Map<number, string> | undefined;

/** Name of a user of this host, or the number. */
export function userName(uid: number): string {
  names ??= new Map(
    passwd().map((line) => {
      const [name, , number] = line.split(":");
      return [Number(number), plain(name ?? "")];
    }),
  );
  return names.get(uid) || String(uid);
}

function passwd(): string[] {
  try {
    return readFileSync("/etc/passwd", "utf8").split("\n").filter(Boolean).reverse();
  } catch {
    return [];
  }
}

/** The payload's command line, as far as a line of a table has room for it. */
export function commandOf({ status }: RunningMachine): string {
  return plain([status.program, ...status.argv.slice(1)].join(" ").slice(0, 200));
}

export const MACHINE_HEAD = ["PID", "OWNER", "DEVICE", "VCPUS", "MEMORY", "CPU", "UP", "COMMAND"];

export function machineRow(machine: RunningMachine): string[] {
  const { status } = machine;
  return [
    String(machine.pid),
    userName(machine.uid),
    plain(status.device),
    String(status.vcpus),
    bytes(status.memoryBytes),
    duration(status.cpuMs),
    duration(status.uptimeMs),
    commandOf(machine).slice(0, 100),
  ];
}
