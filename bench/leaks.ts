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
/** Looked at after each: the first warms caches, code and pools up, the others are compared. */
const PARTS = 5;
/** Bytes a launch may leave on JavaScript's heap and not be called a leak. */
const HEAP_NOISE = 64;
/** The same for resident memory, which the allocators keep in steps of megabytes. */
const RESIDENT_NOISE = 1024;
const RESIDENT_STEP = 16 << 20;

const registries = ["/run/kontain", process.env.XDG_RUNTIME_DIR && `${process.env.XDG_RUNTIME_DIR}/kontain`];

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** What there is of everything that may leak. JavaScript's memory is what collections leave. */
function look(pids: Set<number>) {
  collect();
  collect();
  const { heapUsed, external, rss } = process.memoryUsage();
  const sockets = registries.flatMap((directory) => (directory ? names(directory) : []));
  const scratch = new RegExp(`^kontain-(launch|status-${process.pid})-`);
  return {
    descriptors: names("/proc/self/fd").length,
    children: process.getActiveResourcesInfo().filter((name) => name === "ProcessWrap").length,
    "registry entries": sockets.filter((name) => pids.has(Number(name.split("-")[0]))).length,
    "scratch files": names(tmpdir()).filter((name) => scratch.test(name)).length,
    "JavaScript bytes": heapUsed + external,
    "resident bytes": rss,
  };
}

type Seen = ReturnType<typeof look>;

async function batch(count: number): Promise<Seen> {
  let left = count;
  const pids = new Set<number>();
  const lane = async () => {
    while (left-- > 0) {
      // Every tenth is killed by a limit, every seventh keeps a log: the ways that leave something to clean.
      const machine = await launch(PROGRAM, [], {
        stdio: left % 3 === 0 ? "pipe" : "ignore",
        refusals: left % 7 === 0,
        ...(left % 10 === 0 ? { timeout: 3 } : {}),
      });
      pids.add(machine.pid);
      machine.stdout?.resume();
      machine.stderr?.resume();
      await machine.wait();
    }
  };
  await Promise.all(Array.from({ length: WIDTH }, lane));
  return look(pids);
}

/** Names of what grew between two looks with `launches` between them. */
function growth(before: Seen, after: Seen, launches: number): string[] {
  const room: Seen = {
    descriptors: 0,
    children: 0,
    "registry entries": -before["registry entries"], // those of this batch: none may be there
    "scratch files": 0,
    "JavaScript bytes": launches * HEAP_NOISE,
    "resident bytes": launches * RESIDENT_NOISE + RESIDENT_STEP,
  };
  const keys = Object.keys(room) as (keyof Seen)[];
  return keys.filter((key) => after[key] - before[key] > room[key]);
}

const count = Number(process.argv[2] ?? 10_000);
const part = Math.ceil(count / PARTS);
const seen: Seen[] = [];
for (let i = 0; i < PARTS; i++) seen.push(await batch(part));
const [first, last] = [seen[0] as Seen, seen.at(-1) as Seen];
console.log(`after each of ${PARTS} times ${part} launches:`);
for (const key of Object.keys(first) as (keyof Seen)[])
  console.log(`${key.padEnd(17)} ${seen.map((each) => String(each[key]).padStart(11)).join(" ")}`);
const grew = growth(first, last, part * (PARTS - 1));
console.log(grew.length > 0 ? `grew: ${grew.join(", ")}` : "nothing grew");
process.exitCode = grew.length > 0 ? 1 : 0;
