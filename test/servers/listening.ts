// SPDX-License-Identifier: Apache-2.0
// Waiting for a server on a port of its own.
import { type AddressInfo, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Line } from "./clients.js";

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
