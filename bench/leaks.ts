// SPDX-License-Identifier: Apache-2.0
// Launches many machines from one process and looks for what stays: descriptors, memory, registry entries, scratch files.
// npx tsx bench/leaks.ts [COUNT=10000]; exit status 1 when something grew.
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { launch } from "../src/monitor/index.js";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const PROGRAM = "/bin/true";
const WIDTH = 4;
/** Growth of resident memory that is the allocator's, not a leak's: bytes per launch. */
const NOISE = 1024;

const own = new Set<number>();

function look() {
  collect();
  const names = [
    process.env.XDG_RUNTIME_DIR ? `${process.env.XDG_RUNTIME_DIR}/kontain` : "",
    "/run/kontain",
  ].flatMap((directory) => {
    try {
      return readdirSync(directory);
    } catch {
      return [];
    }
  });
  return {
    descriptors: readdirSync("/proc/self/fd").length,
    memory: process.memoryUsage().rss,
    entries: names.filter((name) => own.has(Number(name.split("-")[0]))).length,
    scratch: readdirSync(tmpdir()).filter((name) => name.startsWith("kontain-launch-")).length,
  };
}

async function batch(count: number): Promise<void> {
  let left = count;
  const lane = async () => {
    while (left-- > 0) {
      // Every tenth is killed by a limit and every seventh keeps a log: the ways that leave something to clean.
      const machine = await launch(PROGRAM, [], {
        stdio: left % 3 === 0 ? "pipe" : "ignore",
        refusals: left % 7 === 0,
        ...(left % 10 === 0 ? { timeout: 3 } : {}),
      });
      own.add(machine.pid);
      machine.stdout?.resume();
      machine.stderr?.resume();
      await machine.wait();
    }
  };
  await Promise.all(Array.from({ length: WIDTH }, lane));
}

const count = Number(process.argv[2] ?? 10_000);
await batch(Math.min(200, count)); // warm-up: code, pools
const before = look();
await batch(count);
const after = look();
console.log(`launches ${count}`);
for (const key of ["descriptors", "memory", "entries", "scratch"] as const)
  console.log(`${key.padEnd(12)} ${before[key]} -> ${after[key]}`);
const grew =
  after.descriptors > before.descriptors ||
  after.memory - before.memory > count * NOISE + (16 << 20) ||
  after.entries > 0 ||
  after.scratch > before.scratch;
console.log(grew ? "something grew" : "nothing grew");
process.exitCode = grew ? 1 : 0;
