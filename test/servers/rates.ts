// SPDX-License-Identifier: Apache-2.0
// A load that lasts, from native clients on loopback: how many requests a second the server answers.
import { join } from "node:path";
import { execa } from "execa";
import { client, initialize } from "./postgresql.js";
import { CONNECTIONS, type Where } from "./table.js";

const PGBENCH_CLIENTS = 4;
const PROBE_REQUESTS = 200;
const START_MS = 300_000;

/** @returns requests per second; throws when one failed */
export type Rate = (where: Where, seconds: number) => Promise<number>;

function figure(stdout: string, pattern: RegExp): number {
  const found = pattern.exec(stdout);
  const trouble = /Non-2xx.*|Socket errors.*|failed transactions: [1-9].*/.exec(stdout);
  if (!found || trouble) throw new Error(trouble?.[0] ?? "no figure in the client's output");
  return Number(found[1]);
}

/** wrk(1) with keep-alive. */
const http: Rate = async (where, seconds) => {
  const load = ["-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, `http://127.0.0.1:${where.port}/hello`];
  const { stdout } = await execa("wrk", load, { timeout: START_MS + seconds * 1000 });
  return figure(stdout, /^Requests\/sec:\s+([\d.]+)/m);
};

/** redis-benchmark knows requests, not seconds: a short run tells how many. */
const redis: Rate = async (where, seconds) => {
  const program = join(where.root, "usr/bin/redis-benchmark");
  const get = async (count: number) => {
    const load = ["-p", String(where.port), "-t", "get", "-c", String(CONNECTIONS), "-n", String(count)];
    const { stdout } = await execa(program, [...load, "--csv"], {
      env: where.env,
      timeout: START_MS + 4 * seconds * 1000,
    });
    return figure(stdout, /"GET","([\d.]+)"/);
  };
  return get(Math.max(PROBE_REQUESTS, Math.round((await get(PROBE_REQUESTS)) * seconds)));
};

const postgresql: Rate = async (where, seconds) => {
  await initialize(where);
  const load = ["-n", "-c", String(PGBENCH_CLIENTS), "-T", String(seconds), "postgres"];
  return figure(await client(where, "pgbench", ...load), /^tps = ([\d.]+)/m);
};

export const RATES = { http, redis, postgresql } as const;
