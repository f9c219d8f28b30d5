// SPDX-License-Identifier: Apache-2.0
// npm run bench -- [--runs 15] [--quick] [--json FILE] [--km FILE]: km beside native, node, crun and runsc, in one run.
// With --servers SECONDS: throughput of servers instead, each loaded for so long.
import { existsSync } from "node:fs";
import { mkdtemp, open, rename, rm } from "node:fs/promises";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { allCases } from "./cases.js";
import { type LaunchRow, launchRows } from "./launch.js";
import { serverCases } from "./servers.js";
import { markdown, type Row, takeRounds } from "./table.js";

const BUILT = fileURLToPath(new URL("../build/bin/km", import.meta.url));
const QUICK_RUNS = 3;
const progress = (text: string) => console.error(`bench: ${text}`);

function options() {
  const { values } = parseArgs({
    options: {
      runs: { type: "string" },
      quick: { type: "boolean", default: false },
      json: { type: "string" },
      km: { type: "string", default: BUILT },
      servers: { type: "string" },
    },
  });
  const runs = Number(values.runs ?? (values.quick ? QUICK_RUNS : 15));
  if (!Number.isInteger(runs) || runs < 1 || runs > 10_000)
    throw new Error(`--runs ${values.runs}: a whole number from 1 to 10000 is needed`);
  const servers = values.servers === undefined ? undefined : Number(values.servers);
  if (servers !== undefined && !(Number.isInteger(servers) && servers >= 1 && servers <= 200))
    throw new Error(`--servers ${values.servers}: seconds from 1 to 200 are needed`);
  const km = resolve(values.km);
  if (!existsSync(km)) throw new Error(`${km} does not exist: run "npm run build" first, or give --km FILE`);
  return { runs, km, quick: values.quick, json: values.json, servers };
}

function fromLaunch({ what, machine, native, unit }: LaunchRow, runs: number): Row {
  const ratio = native ? machine / native : null;
  const ratioTo = native === null ? null : `child_process.spawn (${native.toFixed(2)} ${unit})`;
  return { what: `launch(): ${what}`, unit, runs, median: machine, p25: null, p75: null, ratio, ratioTo };
}

/** launch() of the library from this one process; its rows take turns with child_process.spawn themselves. */
async function fromOneProcess(runs: number, quick: boolean): Promise<Row[]> {
  const launches = quick ? 20 : Math.max(20, runs * 10);
  const atOnce = quick ? 20 : 200;
  progress(`launch() from one process: ${launches} launches, ${atOnce} at once`);
  try {
    return (await launchRows(launches, atOnce)).map((row) => fromLaunch(row, launches));
  } catch (error) {
    const absent = (error as Error).message.split("\n")[0] ?? "unknown";
    const none = { unit: "", runs: 0, median: null, p25: null, p75: null, ratio: null, ratioTo: null };
    return [{ what: "launch() from one process", ...none, absent }];
  }
}

async function save(path: string, text: string): Promise<void> {
  const half = `${path}.${process.pid}.tmp`;
  const file = await open(half, "w");
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(half, path);
}

async function main(): Promise<void> {
  const { runs, km, quick, json, servers } = options();
  const host = {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model ?? "unknown",
    cpus: cpus().length,
    kernel: release(),
    node: process.version,
    load: loadavg(),
    runs,
  };
  const folder = await mkdtemp(join(tmpdir(), "kontain-bench-"));
  try {
    const cases = servers === undefined ? await allCases(folder, km) : await serverCases(km, servers);
    const rows = await takeRounds(cases, { runs, warmUp: servers === undefined }, progress);
    if (servers === undefined) rows.push(...(await fromOneProcess(runs, quick)));
    const load = host.load.map((value) => value.toFixed(1)).join(" ");
    console.log(
      `${host.cpu}, ${host.cpus} CPUs, Linux ${host.kernel}, load ${load}, ${runs} interleaved runs\n`,
    );
    console.log(markdown(rows));
    const text = `${JSON.stringify({ host, rows }, null, 2)}\n`;
    if (json === undefined) console.log(`\n\`\`\`json\n${text}\`\`\``);
    else await save(json, text);
  } finally {
    await rm(folder, { recursive: true });
  }
}

try {
  await main();
} catch (error) {
  console.error(`bench: ${(error as Error).message}`);
  process.exitCode = 1;
}
