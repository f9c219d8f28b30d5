// SPDX-License-Identifier: Apache-2.0
// A kernel in the cache: what a guest boots and what modules are compiled against.

import { existsSync, readFileSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Bind } from "./build-root.js";
import { buildKernel, builtFiles } from "./built-kernel.js";
import { buildOnce, cachePath, withLock } from "./cache.js";
import { Unavailable } from "./errors.js";
import type { Kernel } from "./kernels.js";
import { fetchKernel, packagedFiles } from "./packaged-kernel.js";

/** kernel.json in the kernel's directory. */
export interface Manifest {
  /** What uname -r says in the guest. */
  readonly uname: string;
  /** Debian's version of the package. */
  readonly version: string;
  /** What it was compiled with and modules must be: gcc-12. */
  readonly compiler: string;
}

/** How to compile modules for a kernel. */
export interface Toolchain {
  /** Build root to enter. */
  readonly root: string;
  /** What must be mounted in it. */
  readonly binds: readonly Bind[];
  /** The kernel's build directory there, for make -C. */
  readonly directory: string;
}

export interface KernelFiles extends Manifest {
  readonly kernel: Kernel;
  readonly vmlinuz: string;
  /** The directory that is lib/modules/RELEASE in a system. */
  readonly modules: string;
  readonly toolchain: () => Promise<Toolchain>;
}

export interface KernelFilesOptions {
  /** Fetch the newest even where the cache has one. */
  readonly refresh?: boolean;
  /** Compile a kernel of our own configuration if the cache lacks it. */
  readonly build?: boolean;
}

async function fill(kernel: Kernel, directory: string): Promise<void> {
  const manifest = await ("config" in kernel
    ? buildKernel(kernel, directory)
    : fetchKernel(kernel, directory));
  await writeFile(join(directory, "kernel.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

/**
 * The kernel's files, fetched on first use.
 * @throws Unavailable when apt cannot get it, or it is one to build and was not
 */
export async function kernelFiles(kernel: Kernel, options: KernelFilesOptions = {}): Promise<KernelFiles> {
  const directory = cachePath("kernels", kernel.id);
  if (options.refresh) await withLock(directory, () => rm(directory, { recursive: true, force: true }));
  if ("config" in kernel && !options.build && !existsSync(directory)) {
    throw new Unavailable(`not built yet: npm run lab -- fetch --kernel ${kernel.id} (tens of minutes)`);
  }
  await buildOnce(directory, (partial) => fill(kernel, partial));
  const manifest: Manifest = JSON.parse(readFileSync(join(directory, "kernel.json"), "utf8"));
  if ("config" in kernel) return builtFiles(kernel, directory, manifest);
  return packagedFiles(kernel, directory, manifest);
}

/** What is in the cache of a kernel, for --list; undefined when it has not been fetched. */
export function cachedVersion(kernel: Kernel): string | undefined {
  const path = cachePath("kernels", kernel.id, "kernel.json");
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Manifest).version : undefined;
}
