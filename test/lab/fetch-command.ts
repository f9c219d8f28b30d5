// SPDX-License-Identifier: Apache-2.0
// `lab fetch`: kernels and their toolchains into the cache, ahead of a run or to get newer ones.

import { rm } from "node:fs/promises";
import { cachePath, withLock } from "./cache.js";
import { messageOf, Unavailable } from "./errors.js";
import { kernelFiles } from "./kernel-files.js";
import { kernelById, kernels } from "./kernels.js";

export interface FetchOptions {
  readonly kernel?: readonly string[];
  /** Fetch the newest even where the cache has one. */
  readonly refresh: boolean;
}

/** @returns 0 when all were fetched */
export async function fetchCommand(options: FetchOptions): Promise<number> {
  let missing = 0;
  if (options.refresh) {
    const roots = cachePath("build-roots");
    await withLock(roots, () => rm(roots, { recursive: true, force: true }));
  }
  for (const kernel of options.kernel?.map(kernelById) ?? kernels) {
    try {
      const files = await kernelFiles(kernel, {
        refresh: options.refresh,
        build: options.kernel !== undefined,
      });
      await files.toolchain();
      process.stdout.write(`${kernel.id}: ${files.uname} (${files.version}), ${files.compiler}\n`);
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      process.stdout.write(`${kernel.id}: ${messageOf(error)}\n`);
      missing++;
    }
  }
  return missing === 0 ? 0 : 1;
}
