// SPDX-License-Identifier: Apache-2.0
// Servers under load, natively and under km: every answer is right, nothing stays behind between two loads, and SIGTERM
// ends them the same way.
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import type { Unpacked } from "../helpers/packages.js";
import { KM } from "../helpers/paths.js";
import { buildPayloads } from "../helpers/payloads.js";
import { type Holdings, holdings } from "./processes.js";
import { running, unpacked, until } from "./running.js";
import { CONNECTIONS, LOADS, SERVERS, type Server, type Where } from "./table.js";

const TIMES = 3;
const SETTLE_MS = 60_000;

async function loaded(server: Server, where: Where, pid: number): Promise<Holdings[]> {
  const seen: Holdings[] = [];
  for (let i = 0; i < TIMES; i++) {
    await LOADS[server.protocol](where);
    const first = seen[0];
    // Connections are closed from this side; the server takes its time to notice.
    if (first === undefined) await sleep(2000);
    const now = await until("descriptors and processes of closed connections", SETTLE_MS, async () => {
      const held = holdings(pid);
      if (held.processes !== (server.processes ?? 1)) return undefined;
      return first === undefined || held.descriptors <= first.descriptors ? held : undefined;
    });
    seen.push(now);
  }
  return seen;
}

interface Run {
  readonly status: number | string | undefined;
  readonly stderr: string;
  readonly seen: readonly Holdings[];
}

async function serve(server: Server, files: Unpacked | undefined, wrap: readonly string[]): Promise<Run> {
  return await running(server, files, wrap, async (where, child) => {
    const seen = await loaded(server, where, child.pid as number);
    child.kill("SIGTERM");
    const done = await child;
    return { status: done.signal ?? done.exitCode, stderr: String(done.stderr), seen };
  });
}

function compare(t: ExecutionContext, native: Run, km: Run): void {
  t.is(km.status, native.status, `ended by SIGTERM; stderr: ${km.stderr}`);
  t.is(km.stderr, native.stderr);
  const vcpus = km.seen.map((held) => held.vcpus);
  // A machine keeps its vCPUs for the next threads; more in each load than there were threads is a leak.
  t.true((vcpus.at(-1) ?? 0) < (vcpus[0] ?? 0) + CONNECTIONS, `vCPUs after each load: ${vcpus}`);
  t.log(`under km: ${JSON.stringify(km.seen)}`);
}

await buildPayloads();
const packages = await Promise.all(SERVERS.map(unpacked));

for (const [i, server] of SERVERS.entries()) {
  const files = packages[i];
  if (typeof files === "string") {
    test.serial.skip(`${server.name} (${files})`, () => undefined);
    continue;
  }
  test.serial(server.name, async (t) => {
    t.timeout(900_000);
    const native = await serve(server, files, []);
    const km = await serve(server, files, [KM, "--"]);
    compare(t, native, km);
  });
}
