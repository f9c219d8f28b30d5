// SPDX-License-Identifier: Apache-2.0
// The lab's cache: everything fetched or built once, kept out of the checkout, safe against concurrent runs.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

/** The cache directory: $KONTAIN_LAB_CACHE, else $XDG_CACHE_HOME/kontain-lab, else ~/.cache/kontain-lab. */
export function cacheRoot(): string {
  const own = process.env.KONTAIN_LAB_CACHE;
  if (own) return own;
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "kontain-lab");
}

export function cachePath(...parts: string[]): string {
  return join(cacheRoot(), ...parts);
}

/**
 * Runs `work` while no other process of this machine runs work under the same name. The lock is an abstract unix
 * socket (unix(7)): the kernel drops it when its holder dies, so it is never stale.
 */
export async function withLock<T>(name: string, work: () => Promise<T>): Promise<T> {
  const id = createHash("sha256").update(cachePath(name)).digest("hex").slice(0, 32);
  const lock = await acquire(`\0kontain-lab-${id}`);
  try {
    return await work();
  } finally {
    await new Promise((done) => lock.close(done));
  }
}

async function acquire(address: string): Promise<Server> {
  for (;;) {
    const server = createServer((socket) => socket.destroy());
    const taken = await new Promise<boolean>((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) =>
        error.code === "EADDRINUSE" ? resolve(true) : reject(error),
      );
      server.listen(address, () => resolve(false));
    });
    if (!taken) return server;
    await new Promise((wake) => setTimeout(wake, 200));
  }
}

/**
 * The directory `path`, made by `fill` unless it exists. `fill` gets a temporary directory beside it, which is
 * renamed into place at the end: a directory that exists is complete.
 */
export async function buildOnce(path: string, fill: (partial: string) => Promise<void>): Promise<string> {
  if (existsSync(path)) return path;
  return withLock(path, async () => {
    if (existsSync(path)) return path;
    const partial = `${path}.partial`;
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    await mkdir(dirname(path), { recursive: true });
    await fill(partial);
    await rename(partial, path);
    return path;
  });
}
