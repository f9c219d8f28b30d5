// SPDX-License-Identifier: Apache-2.0
// Compiles an out-of-tree module directory against a lab kernel's headers, with the right compiler.

import { createHash } from "node:crypto";
import { cp, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { runInBuildRoot } from "./build-root.js";
import { cachePath, withLock } from "./cache.js";
import { kernelFiles } from "./kernel-files.js";
import { kernelById } from "./kernels.js";

export interface ModuleBuild {
  /** Paths of the .ko files, in the cache. */
  readonly modules: readonly string[];
  /** All of make's output, also in `logPath`. */
  readonly log: string;
  readonly logPath: string;
  /** Warning lines of the compiler, sparse or modpost. */
  readonly warnings: readonly string[];
}

export class ModuleBuildError extends Error {
  override name = "ModuleBuildError";
  constructor(
    message: string,
    readonly log: string,
    readonly logPath: string,
  ) {
    super(message);
  }
}

const isWarning = (line: string) => /\bwarning:|^WARNING: modpost/i.test(line);
// Debian ships no vmlinux with the headers, so no module built outside the kernel gets BTF
const isNoise = (line: string) => /Skipping BTF generation|compiler differs from the one used/.test(line);

/**
 * Builds `directory` (which has a Kbuild or Makefile) for a kernel, W=1. The directory is copied to the cache first
 * and never written to.
 * @param makeArgs further arguments of make, e.g. `C=1` for sparse
 * @throws ModuleBuildError when make fails or leaves no module; Unavailable when headers or toolchain cannot be had
 */
export async function buildModule(
  kernelId: string,
  directory: string,
  makeArgs: readonly string[] = [],
): Promise<ModuleBuild> {
  const kernel = kernelById(kernelId);
  const files = await kernelFiles(kernel);
  const toolchain = await files.toolchain();
  const source = resolve(directory);
  const key = createHash("sha256")
    .update(`${source}\0${makeArgs.join("\0")}`)
    .digest("hex")
    .slice(0, 12);
  const work = cachePath("modules", kernel.id, `${basename(source)}-${key}`);
  return withLock(work, async () => {
    const copy = join(work, "src");
    await rm(work, { recursive: true, force: true });
    await mkdir(work, { recursive: true });
    await cp(source, copy, { recursive: true, verbatimSymlinks: true });
    const binds = [...toolchain.binds, { from: copy, to: "/build" }];
    const make = ["make", "-C", toolchain.directory, "M=/build", "W=1", `CC=${files.compiler}`];
    const result = await runInBuildRoot(toolchain.root, binds, [...make, ...makeArgs, "modules"]);
    const logPath = join(work, "make.log");
    await writeFile(logPath, `${result.output}\n`);
    if (result.exitCode !== 0) {
      const message = `make for ${kernel.id} ended with status ${result.exitCode}; log: ${logPath}`;
      throw new ModuleBuildError(message, result.output, logPath);
    }
    const modules = (await readdir(copy, { recursive: true })).filter((name) => name.endsWith(".ko"));
    if (modules.length === 0) {
      throw new ModuleBuildError(
        `${source} built no .ko for ${kernel.id}; log: ${logPath}`,
        result.output,
        logPath,
      );
    }
    const warnings = result.output.split("\n").filter((line) => isWarning(line) && !isNoise(line));
    return { modules: modules.map((name) => join(copy, name)), log: result.output, logPath, warnings };
  });
}
