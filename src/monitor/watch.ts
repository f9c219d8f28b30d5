// SPDX-License-Identifier: Apache-2.0
// What a machine and everything it forked uses, read from /proc: nothing the payload could change.
import { readFile } from "node:fs/promises";

export interface Usage {
  /** Resident bytes of all its processes (proc(5), statm); in a cgroup, what is charged to it. */
  memoryBytes: number;
  /** User and system time, milliseconds, of the living and of those already waited for. */
  cpuMs: number;
  processes: number;
}

const PAGE = 4096;
/** sysconf(_SC_CLK_TCK), 100 on every x86-64 Linux. */
const TICK_MS = 10;

/** The numbers of a /proc file behind the name in parentheses, which may hold anything. */
async function numbers(path: string): Promise<number[]> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text
    .slice(text.lastIndexOf(")") + 1)
    .trim()
    .split(/\s+/)
    .map(Number);
}

/** The process `pid` and what descends from it, itself first. */
export async function descendants(pid: number): Promise<number[]> {
  const list = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  const children = list.split(" ").filter(Boolean).map(Number);
  const below = await Promise.all(children.map(descendants));
  return [pid, ...below.flat()];
}

/** Adds up the process `pid` and its descendants; zeros when it is gone. */
export async function usage(pid: number): Promise<Usage> {
  const total: Usage = { memoryBytes: 0, cpuMs: 0, processes: 0 };
  for (const each of await descendants(pid)) {
    const [stat, statm] = await Promise.all([numbers(`/proc/${each}/stat`), numbers(`/proc/${each}/statm`)]);
    if (stat.length < 20) continue;
    // proc(5): utime, stime, cutime and cstime are fields 14 to 17; the first number here is field 3.
    total.cpuMs += stat.slice(11, 15).reduce((sum, ticks) => sum + ticks, 0) * TICK_MS;
    total.memoryBytes += (statm[1] ?? 0) * PAGE;
    total.processes++;
  }
  return total;
}
