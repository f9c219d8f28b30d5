// SPDX-License-Identifier: Apache-2.0
// Static guest programs, compiled once per source text with the host's C compiler.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { buildOnce, cachePath } from "./cache.js";
import { messageOf, Unavailable } from "./errors.js";

const flags = ["-std=gnu17", "-O2", "-static", "-Wall", "-Wextra"];

/**
 * The path of the program made from one C file.
 * @throws Unavailable when the host has no compiler or it rejects the source
 */
export async function staticProgram(source: string, extraFlags: readonly string[] = []): Promise<string> {
  const compiler = process.env.CC || "cc";
  const text = readFileSync(source);
  const key = createHash("sha256")
    .update([compiler, ...flags, ...extraFlags].join(" "))
    .update(text)
    .digest("hex");
  const directory = await buildOnce(cachePath("programs", key.slice(0, 24)), async (partial) => {
    try {
      await execa(compiler, [...flags, ...extraFlags, source, "-o", join(partial, "program"), "-pthread"]);
    } catch (error) {
      throw new Unavailable(`cannot compile ${source}: ${messageOf(error)}`);
    }
  });
  return join(directory, "program");
}
