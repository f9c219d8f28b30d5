// SPDX-License-Identifier: Apache-2.0
// Compiles an out-of-tree module directory against a lab kernel's headers, with the right compiler.

import { createHash } from "node:crypto";
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { runInBuildRoot } from "./build-root.js";
import { buildOnce, cachePath } from "./cache.js";
import { type KernelFiles, kernelFiles } from "./kernel-files.js";
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

/** A digest over every file of a directory: names and contents. */
async function contents(directory: string): Promise<string> {
  const hash = createHash("sha256");
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const file of files.sort()) {
    hash.update(`${relative(directory, file)}\0`).update(await readFile(file));
  }
  return hash.digest("hex");
}

/**
 * Builds `directory` (which has a Kbuild or Makefile) for a kernel, W=1, unless the cache has it built from the same
 * files with the same arguments. The directory is copied to the cache first and never written to.
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
  const source = resolve(directory);
  const recipe = [await contents(source), files.version, files.compiler, ...makeArgs].join("\0");
  const key = createHash("sha256").update(recipe).digest("hex").slice(0, 24);
  // never rebuilt in place: another lab may be reading the module of an earlier state
  const work = await buildOnce(
    cachePath("modules", kernel.id, `${basename(source)}-${key}`),
    async (partial) => {
      await cp(source, join(partial, "src"), { recursive: true, verbatimSymlinks: true });
      await makeModule(files, partial, makeArgs);
    },
  );
  const logPath = join(work, "make.log");
  const log = await readFile(logPath, "utf8");
  const warnings = log.split("\n").filter((line) => isWarning(line) && !isNoise(line));
  return { modules: await modulesIn(work), log, logPath, warnings };
}

async function modulesIn(work: string): Promise<string[]> {
  const names = await readdir(join(work, "src"), { recursive: true });
  return names.filter((name) => name.endsWith(".ko")).map((name) => join(work, "src", name));
}

async function makeModule(files: KernelFiles, work: string, makeArgs: readonly string[]): Promise<void> {
  const toolchain = await files.toolchain();
  const binds = [...toolchain.binds, { from: join(work, "src"), to: "/build" }];
  const make = ["make", "-C", toolchain.directory, "M=/build", "W=1", `CC=${files.compiler}`];
  const result = await runInBuildRoot(toolchain.root, binds, [...make, ...makeArgs, "modules"]);
  const logPath = join(work, "make.log");
  await writeFile(logPath, `${result.output}\n`);
  if (result.exitCode !== 0) {
    const message = `make for ${files.kernel.id} ended with status ${result.exitCode}; log: ${logPath}`;
    throw new ModuleBuildError(message, result.output, logPath);
  }
  if ((await modulesIn(work)).length > 0) return;
  throw new ModuleBuildError(
    `no .ko was built for ${files.kernel.id}; log: ${logPath}`,
    result.output,
    logPath,
  );
}
