// SPDX-License-Identifier: Apache-2.0
// npm run soak [-- KIND ...]: the long form. Exit status 1 when something grew, failed or hung.
import { buildPayloads } from "../helpers/payloads.js";
import { connections, growth, type Soaked, soak } from "./run.js";
import { CONNECTIONS, SOAKS } from "./table.js";

/** A run that takes longer has hung. */
const LIMIT_S = 3600;

const jobs = new Map<string, readonly [string, () => Promise<Soaked>]>(
  SOAKS.map(({ kind, what, long }) => [kind, [`${long} x ${what}`, () => soak(kind, long, LIMIT_S)]]),
);
jobs.set("connections", [
  `${CONNECTIONS.long} connections at once, 3 times`,
  () => connections(CONNECTIONS.long, LIMIT_S),
]);

const asked = process.argv.slice(2);
const unknown = asked.filter((kind) => !jobs.has(kind));
if (unknown.length > 0) {
  console.error(`soak: no ${unknown.join(", ")}; there are ${[...jobs.keys()].join(", ")}`);
  process.exit(2);
}
await buildPayloads();
for (const kind of asked.length > 0 ? asked : jobs.keys()) {
  const [what, run] = jobs.get(kind) as readonly [string, () => Promise<Soaked>];
  process.stderr.write(`${what} ...\n`);
  try {
    const soaked = await run();
    const grown = growth(soaked);
    const { descriptors, vcpus, threads, residentMiB } = soaked.end;
    const end = `${descriptors} descriptors, ${vcpus} vCPUs, ${threads} threads, ${residentMiB.toFixed(1)} MiB (early: ${soaked.early.residentMiB.toFixed(1)})`;
    console.log(
      `${grown.length > 0 ? `GREW ${grown.join("; ")}` : "ok"}: ${what}, ${soaked.seconds.toFixed(0)} s; ${end}`,
    );
    if (grown.length > 0) process.exitCode = 1;
  } catch (error) {
    console.log(`FAILED: ${what}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
