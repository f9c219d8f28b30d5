// SPDX-License-Identifier: Apache-2.0
// Throughput of the servers of test/servers, natively, under km and under runsc: what native clients get on loopback.
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { buildPayloads } from "../test/helpers/payloads.js";
import { client, initialize } from "../test/servers/postgresql.js";
import { running, unpacked } from "../test/servers/running.js";
import { CONNECTIONS, SERVERS, type Server, type Where } from "../test/servers/table.js";
import type { Case } from "./table.js";

const GVISOR = fileURLToPath(new URL("gvisor.mjs", import.meta.url));
const PGBENCH_CLIENTS = 4;
const PROBE_REQUESTS = 200;

type Rate = (where: Where, seconds: number) => Promise<number>;

function figure(stdout: string, pattern: RegExp): number {
  const found = pattern.exec(stdout);
  const trouble = /Non-2xx.*|Socket errors.*|failed transactions: [1-9].*/.exec(stdout);
  if (!found || trouble) throw new Error(trouble?.[0] ?? "no figure in the client's output");
  return Number(found[1]);
}

async function number(pattern: RegExp, command: string, args: string[]): Promise<number> {
  return figure((await execa(command, args, { timeout: 300_000 })).stdout, pattern);
}

/** wrk(1) with keep-alive. */
const http: Rate = (where, seconds) => {
  const load = ["-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, `http://127.0.0.1:${where.port}/hello`];
  return number(/^Requests\/sec:\s+([\d.]+)/m, "wrk", load);
};

/** redis-benchmark knows requests, not seconds: a short run tells how many. */
const redis: Rate = async (where, seconds) => {
  const get = (count: number) => {
    const load = ["-p", String(where.port), "-t", "get", "-c", String(CONNECTIONS), "-n", String(count)];
    return number(/"GET","([\d.]+)"/, "redis-benchmark", [...load, "--csv"]);
  };
  return get(Math.max(PROBE_REQUESTS, Math.round((await get(PROBE_REQUESTS)) * seconds)));
};

const postgresql: Rate = async (where, seconds) => {
  await initialize(where);
  const load = ["-n", "-c", String(PGBENCH_CLIENTS), "-T", String(seconds), "postgres"];
  return figure(await client(where, "pgbench", ...load), /^tps = ([\d.]+)/m);
};

const RATES = { http, redis, postgresql } as const;

function caseOf(server: Server, how: string, wrap: readonly string[], seconds: number): Case {
  const native = `${server.name}: native`;
  return {
    what: `${server.name}: ${how}`,
    unit: "1/s",
    ...(wrap.length > 0 ? { base: native } : {}),
    measure: async () => {
      const files = await unpacked(server);
      if (typeof files === "string") throw new Error(files);
      return await running(server, files, wrap, async (where, child) => {
        const rate = await RATES[server.protocol](where, seconds);
        child.kill("SIGTERM");
        await child;
        return rate;
      });
    },
  };
}

/** @param seconds of load for each figure */
export async function serverCases(km: string, seconds: number): Promise<Case[]> {
  await buildPayloads();
  return SERVERS.flatMap((server) => [
    caseOf(server, "native", [], seconds),
    caseOf(server, "km", [km, "--"], seconds),
    caseOf(server, "runsc (ptrace)", [process.execPath, GVISOR], seconds),
  ]);
}
