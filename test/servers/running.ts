// SPDX-License-Identifier: Apache-2.0
// Starting a server of the table on a port of its own, and waiting for it.
import { chmodSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { find } from "../helpers/commands.js";
import { type Unpacked, unpack } from "../helpers/packages.js";
import { closedFolder, inScratch, ROOT } from "../helpers/paths.js";
import { Line } from "./clients.js";
import { idOf, type Server, type Started, type Where } from "./table.js";

const START_MS = 120_000;

/** A TCP port of 127.0.0.1 that nobody had a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => done(port));
    });
  });
}

/** Calls `probe` until it gives something, or the last try's error after `limit` milliseconds. */
export async function until<T>(what: string, limit: number, probe: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + limit;
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`${what}: not within ${limit / 1000} s`);
    await sleep(100);
  }
}

/** Returns when somebody accepts connections on `port`; throws when `child` ends before. */
export async function listening(port: number, child: { readonly exitCode: number | null }): Promise<void> {
  await until(`the server on port ${port}`, START_MS, async () => {
    if (child.exitCode !== null) throw new Error(`the server ended at once with status ${child.exitCode}`);
    const line = await Line.open(port).catch(() => undefined);
    line?.close();
    return line;
  });
}

/** The server's packages, undefined when it needs none; why it cannot run here in one line otherwise. */
export async function unpacked(server: Server): Promise<Unpacked | undefined | string> {
  const missing = (server.needs ?? []).filter((command) => find(command) === undefined);
  if (missing.length > 0) return `not installed: ${missing.join(", ")}`;
  const closed = server.user && process.getuid?.() === 0 ? closedFolder(join(ROOT, "build")) : undefined;
  if (closed) return `the user ${server.user} may not pass ${closed}: have the checkout elsewhere`;
  return server.packages ? await unpack(idOf(server), server.packages) : undefined;
}

/** Becomes `user` where this is root. */
function as(user: string | undefined): string[] {
  return user && process.getuid?.() === 0
    ? ["setpriv", `--reuid=${user}`, "--regid=nogroup", "--clear-groups"]
    : [];
}

function command(where: Where, user: string | undefined, wrap: readonly string[], started: Started) {
  const [program, ...args] = [...wrap, ...as(user), ...started.command];
  return execa(program as string, args, {
    env: { ...where.env, ...started.env },
    cwd: where.folder,
    stdin: "ignore",
    reject: false,
    timeout: 600_000,
    killSignal: "SIGKILL",
  });
}

type Child = ReturnType<typeof command>;

/**
 * Starts `server` in an empty folder and calls `use` when it listens; kills it afterwards.
 * @param wrap words in front of its command
 */
export async function running<T>(
  server: Server,
  files: Unpacked | undefined,
  wrap: readonly string[],
  use: (where: Where, child: Child) => Promise<T>,
): Promise<T> {
  return await inScratch(async (folder) => {
    chmodSync(folder, server.user ? 0o777 : 0o755); // workers that gave up root look into it
    const where = { folder, port: await freePort(), root: files?.root ?? "/", env: files?.env ?? {} };
    const run = (started: Started) => command(where, server.user, wrap, started);
    if (server.prepare) {
      const { exitCode, stderr } = await run(server.prepare(where));
      if (exitCode !== 0) throw new Error(`preparing failed: ${stderr}`);
    }
    const child = run(server.start(where));
    try {
      await listening(where.port, child);
      return await use(where, child);
    } finally {
      child.kill("SIGKILL");
    }
  });
}
