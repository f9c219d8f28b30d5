// SPDX-License-Identifier: Apache-2.0
// Servers under load, natively and under km: every answer is right, nothing stays behind between two loads, and SIGTERM
// ends them the same way.
import { chmodSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { find } from "../helpers/commands.js";
import { type Unpacked, unpack } from "../helpers/packages.js";
import { inScratch, KM } from "../helpers/paths.js";
import { buildPayloads } from "../helpers/payloads.js";
import { freePort, listening, until } from "./listening.js";
import { type Holdings, holdings } from "./processes.js";
import { CONNECTIONS, SERVERS, type Server, type Started, type Where } from "./table.js";

const LOADS = 3;
const SETTLE_MS = 60_000;

async function loaded(server: Server, where: Where, pid: number): Promise<Holdings[]> {
  const seen: Holdings[] = [];
  for (let i = 0; i < LOADS; i++) {
    await server.load(where);
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

/** Becomes `user` where the test runs as root. */
function as(user: string | undefined): string[] {
  return user && process.getuid?.() === 0
    ? ["setpriv", `--reuid=${user}`, "--regid=nogroup", "--clear-groups"]
    : [];
}

async function serve(server: Server, unpacked: Unpacked | undefined, wrap: readonly string[]): Promise<Run> {
  return await inScratch(async (folder) => {
    chmodSync(folder, server.user ? 0o777 : 0o755); // workers that gave up root look into it
    const where = { folder, port: await freePort(), root: unpacked?.root ?? "/", env: unpacked?.env ?? {} };
    const run = ({ command, env }: Started) => {
      const [program, ...args] = [...wrap, ...as(server.user), ...command];
      return execa(program as string, args, {
        env: { ...unpacked?.env, ...env },
        cwd: folder,
        stdin: "ignore",
        reject: false,
        timeout: 600_000,
        killSignal: "SIGKILL",
      });
    };
    if (server.prepare) {
      const { exitCode, stderr } = await run(server.prepare(where));
      if (exitCode !== 0) throw new Error(`preparing failed: ${stderr}`);
    }
    const child = run(server.start(where));
    try {
      await listening(where.port, child);
      const seen = await loaded(server, where, child.pid as number);
      child.kill("SIGTERM");
      const done = await child;
      return { status: done.signal ?? done.exitCode, stderr: String(done.stderr), seen };
    } finally {
      child.kill("SIGKILL");
    }
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
const packages = await Promise.all(
  SERVERS.map((server) =>
    server.packages ? unpack(server.name.replace(/\W.*/, ""), server.packages) : undefined,
  ),
);

for (const [i, server] of SERVERS.entries()) {
  const missing = (server.needs ?? []).filter((command) => find(command) === undefined);
  const unpacked = packages[i];
  if (missing.length > 0 || typeof unpacked === "string") {
    test.serial.skip(
      `${server.name} (${unpacked ?? `not installed: ${missing.join(", ")}`})`,
      () => undefined,
    );
    continue;
  }
  test.serial(server.name, async (t) => {
    t.timeout(900_000);
    const native = await serve(server, unpacked, []);
    const km = await serve(server, unpacked, [KM, "--"]);
    compare(t, native, km);
  });
}
