// SPDX-License-Identifier: Apache-2.0
// npm run soak [-- KIND ...]: the long form. Exit status 1 when something grew, failed or hung.
import { buildPayloads } from "../helpers/payloads.js";
import { idOf, SERVERS, type Server } from "../servers/table.js";
import { connections, growth, type Slack, type Soaked, soak } from "./run.js";
import { type Served, serve, slackOf } from "./servers.js";
import { CONNECTIONS, SERVED_S, SOAKS } from "./table.js";

/** A run that takes longer has hung. */
const LIMIT_S = 3600;

interface Job {
  readonly what: string;
  /** A line instead of what it held: why it cannot be run here. */
  readonly run: () => Promise<Soaked | Served | string>;
  readonly slack?: Slack;
}

const served = (server: Server): [string, Job] => [
  idOf(server),
  {
    what: `${server.name}: loaded for ${SERVED_S} s`,
    run: () => serve(server, SERVED_S),
    slack: slackOf(server),
  },
];

const jobs = new Map<string, Job>([
  ...SOAKS.map(({ kind, what, long }): [string, Job] => [
    kind,
    { what: `${long} x ${what}`, run: () => soak(kind, long, LIMIT_S) },
  ]),
  [
    "connections",
    {
      what: `${CONNECTIONS.long} connections at once, 3 times`,
      run: () => connections(CONNECTIONS.long, LIMIT_S),
      slack: CONNECTIONS.slack,
    },
  ],
  ...SERVERS.map(served),
]);

/** Tells how it went. @returns whether it went well */
function tell({ what, slack }: Job, soaked: Soaked | Served): boolean {
  const grown = growth(soaked, slack);
  const { descriptors, vcpus, threads, residentMiB } = soaked.end;
  const end = `${descriptors} descriptors, ${vcpus} vCPUs, ${threads} threads, ${residentMiB.toFixed(1)} MiB (early: ${soaked.early.residentMiB.toFixed(1)})`;
  const rate = "rate" in soaked ? `, ${soaked.rate.toFixed(0)} requests/s` : "";
  const verdict = grown.length > 0 ? `GREW ${grown.join("; ")}` : "ok";
  console.log(`${verdict}: ${what}, ${soaked.seconds.toFixed(0)} s${rate}; ${end}`);
  return grown.length === 0;
}

async function run(job: Job): Promise<boolean> {
  process.stderr.write(`${job.what} ...\n`);
  try {
    const soaked = await job.run();
    if (typeof soaked !== "string") return tell(job, soaked);
    console.log(`skipped: ${job.what}: ${soaked}`);
    return true;
  } catch (error) {
    console.log(`FAILED: ${job.what}: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}

const asked = process.argv.slice(2);
const unknown = asked.filter((kind) => !jobs.has(kind));
if (unknown.length > 0) {
  console.error(`soak: no ${unknown.join(", ")}; there are ${[...jobs.keys()].join(", ")}`);
  process.exit(2);
}
await buildPayloads();
for (const [kind, job] of jobs) {
  if (asked.length > 0 && !asked.includes(kind)) continue;
  if (!(await run(job))) process.exitCode = 1;
}
