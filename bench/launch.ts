// SPDX-License-Identifier: Apache-2.0
// Launching from one Node process: rate, latency beside child_process.spawn of the same binary, many at once.
// Run alone: npx tsx bench/launch.ts [--launches 200] [--at-once 200]
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { execa } from "execa";
import { type LaunchedMachine, launch } from "../src/monitor/index.js";

export interface LaunchRow {
  what: string;
  /** With its unit in `unit`. */
  machine: number;
  /** The same done without a machine, or null where that says nothing. */
  native: number | null;
  unit: string;
}

const HELLO = '#include <stdio.h>\nint main(void) { return puts("hello") < 0; }\n';
const WAITER =
  "#include <stdio.h>\nint main(void) { puts(\"up\"); fflush(stdout); return getchar() == 'x'; }\n";

async function build(folder: string, name: string, source: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(`${path}.c`, source);
  await execa("gcc", ["-O2", "-static", "-o", path, `${path}.c`]);
  return path;
}

async function inMachine(program: string): Promise<void> {
  const machine = await launch(program, [], { stdio: "ignore" });
  const { status } = await machine.wait();
  if (status !== 0) throw new Error(`${program} ended with ${status}`);
}

async function natively(program: string): Promise<void> {
  const [code] = await once(spawn(program, { stdio: "ignore", detached: true }), "close");
  if (code !== 0) throw new Error(`${program} ended with ${code}`);
}

type Runner = (program: string) => Promise<void>;

/** Milliseconds of each run, sorted. The two kinds take turns, so that both meet the same weather. */
async function latencies(program: string, count: number): Promise<{ machine: number[]; native: number[] }> {
  const times = { machine: [] as number[], native: [] as number[] };
  const timed = async (run: Runner, into: number[]) => {
    const start = performance.now();
    await run(program);
    into.push(performance.now() - start);
  };
  for (let i = 0; i < count; i++) {
    await timed(inMachine, times.machine);
    await timed(natively, times.native);
  }
  for (const list of Object.values(times)) list.sort((a, b) => a - b);
  return times;
}

const quantile = (sorted: number[], q: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;

/** Runs a second, `width` at a time. */
async function rate(run: Runner, program: string, count: number, width: number): Promise<number> {
  let left = count;
  const start = performance.now();
  const lane = async () => {
    while (left-- > 0) await run(program);
  };
  await Promise.all(Array.from({ length: width }, lane));
  return (count * 1000) / (performance.now() - start);
}

/** Proportional set size in MiB (proc(5), smaps_rollup). */
async function pss(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) / 1024;
}

async function together(program: string, count: number): Promise<{ seconds: number; mib: number }> {
  const start = performance.now();
  const machines: LaunchedMachine[] = [];
  try {
    await Promise.all(
      Array.from({ length: count }, async () => {
        const machine = await launch(program);
        machines.push(machine);
        await once(machine.stdout as NodeJS.ReadableStream, "data");
      }),
    );
    const seconds = (performance.now() - start) / 1000;
    const sizes = await Promise.all(machines.map((machine) => pss(machine.pid)));
    return { seconds, mib: sizes.reduce((sum, size) => sum + size, 0) };
  } finally {
    await Promise.all(machines.map((machine) => machine[Symbol.asyncDispose]()));
  }
}

/** All rows. @param launches for rate and latency; @param atOnce machines that live together */
export async function launchRows(launches = 200, atOnce = 200): Promise<LaunchRow[]> {
  const folder = await mkdtemp(join(tmpdir(), "kontain-bench-"));
  try {
    const [hello, waiter] = await Promise.all([
      build(folder, "hello", HELLO),
      build(folder, "waiter", WAITER),
    ]);
    const times = await latencies(hello, launches);
    const row = (what: string, machine: number, native: number | null, unit: string) => ({
      what,
      machine,
      native,
      unit,
    });
    const rows = [
      row("hello, median", quantile(times.machine, 0.5), quantile(times.native, 0.5), "ms"),
      row("hello, 99th percentile", quantile(times.machine, 0.99), quantile(times.native, 0.99), "ms"),
      row(
        "launches, one at a time",
        await rate(inMachine, hello, launches, 1),
        await rate(natively, hello, launches, 1),
        "1/s",
      ),
      row(
        "launches, eight at a time",
        await rate(inMachine, hello, launches, 8),
        await rate(natively, hello, launches, 8),
        "1/s",
      ),
    ];
    const many = await together(waiter, atOnce);
    rows.push(row(`${atOnce} at once, until all are up`, many.seconds, null, "s"));
    rows.push(row(`${atOnce} at once, memory of each (PSS)`, many.mib / atOnce, null, "MiB"));
    return rows;
  } finally {
    await rm(folder, { recursive: true });
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { values } = parseArgs({ options: { launches: { type: "string" }, "at-once": { type: "string" } } });
  const rows = await launchRows(Number(values.launches ?? 200), Number(values["at-once"] ?? 200));
  for (const { what, machine, native, unit } of rows)
    console.log(
      `${what.padEnd(38)} ${machine.toFixed(2).padStart(9)} ${unit}  native ${native?.toFixed(2) ?? "-"}`,
    );
}
