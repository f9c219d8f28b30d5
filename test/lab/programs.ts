// SPDX-License-Identifier: Apache-2.0
// Static guest programs, compiled with the host's C compiler, once for a state of their sources.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { buildOnce, cachePath } from "./cache.js";
import { messageOf } from "./errors.js";
import { projectRoot } from "./paths.js";

/** A C program for a guest. Paths are below the checkout. */
export interface Program {
  readonly name: string;
  readonly sources: readonly string[];
  /** Include directories. */
  readonly include?: readonly string[];
  readonly flags?: readonly string[];
}

const commonFlags = ["-std=gnu17", "-O2", "-static", "-pthread", "-Wall", "-Wextra", "-Werror"];

function headersIn(directory: string): string[] {
  const names = readdirSync(directory, { recursive: true, encoding: "utf8" }).sort();
  return names.filter((name) => name.endsWith(".h")).map((name) => join(directory, name));
}

/** A digest over all that the program may be made from: sources, and headers beside them or in `include`. */
function digest(command: readonly string[], sources: readonly string[], include: readonly string[]): string {
  const directories = new Set([...sources.map(dirname), ...include]);
  const files = [...sources, ...[...directories].flatMap(headersIn)];
  const hash = createHash("sha256").update(command.join("\0"));
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(file));
  return hash.digest("hex").slice(0, 24);
}

/**
 * The path of the program, compiled unless the cache has it.
 * @throws Error with the compiler's words when it does not compile
 */
export async function staticProgram(program: Program): Promise<string> {
  const sources = program.sources.map((path) => join(projectRoot, path));
  const include = (program.include ?? []).map((path) => join(projectRoot, path));
  const flags = [...commonFlags, ...(program.flags ?? []), ...include.map((path) => `-I${path}`)];
  const command = [process.env.CC || "cc", ...flags, ...sources];
  const directory = cachePath("programs", `${program.name}-${digest(command, sources, include)}`);
  await buildOnce(directory, async (partial) => {
    const [compiler = "cc", ...args] = command;
    try {
      await execa(compiler, [...args, "-o", join(partial, program.name)]);
    } catch (error) {
      throw new Error(`cannot compile ${program.name}: ${messageOf(error)}`);
    }
  });
  return join(directory, program.name);
}
