// SPDX-License-Identifier: Apache-2.0

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout: the nearest directory above this file, compiled or not, that has the lab's sources. */
export const projectRoot = findRoot(dirname(fileURLToPath(import.meta.url)));

/** test/lab in the checkout: where scripts and C sources are, which the TypeScript compiler does not copy. */
export const labDirectory = join(projectRoot, "test/lab");

function findRoot(from: string): string {
  if (existsSync(join(from, "package.json")) && existsSync(join(from, "test/lab/guest/agent.c"))) return from;
  const up = dirname(from);
  if (up === from) throw new Error("test/lab is not in a checkout of the project");
  return findRoot(up);
}
