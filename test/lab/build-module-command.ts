// SPDX-License-Identifier: Apache-2.0
// `lab build-module`: .ko paths on standard output, everything else on standard error.

import { buildModule, ModuleBuildError } from "./build-module.js";
import { kernels } from "./kernels.js";

export interface BuildModuleCommandOptions {
  readonly kernel: readonly string[];
  readonly make: readonly string[];
  readonly werror: boolean;
}

/** @returns 0, or 1 when a build failed (or, with --werror, warned) */
export async function buildModuleCommand(
  directory: string,
  options: BuildModuleCommandOptions,
): Promise<number> {
  const ids = options.kernel.includes("all") ? kernels.map(({ id }) => id) : options.kernel;
  let failures = 0;
  for (const id of ids) {
    try {
      const build = await buildModule(id, directory, options.make);
      for (const line of build.warnings) process.stderr.write(`${id}: ${line}\n`);
      if (options.werror && build.warnings.length > 0) failures++;
      for (const path of build.modules) process.stdout.write(`${path}\n`);
    } catch (error) {
      if (!(error instanceof ModuleBuildError)) throw error;
      process.stderr.write(`${error.log}\n${id}: ${error.message}\n`);
      failures++;
    }
  }
  return failures === 0 ? 0 : 1;
}
