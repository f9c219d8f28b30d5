// SPDX-License-Identifier: Apache-2.0
// Whether a part of this clone is built from the sources that are there now: a build leaves a stamp of its inputs (names,
// sizes, times), which takes milliseconds to compare.
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** @typedef {"native" | "typescript"} Part */

/** What each part is called, made of and made into. @type {Record<Part, {title: string, inputs: string[], outputs: string[]}>} */
export const PARTS = {
  typescript: {
    title: "the TypeScript",
    inputs: ["src", "bin/build-reasons.d.mts", "tsconfig.json", "tsconfig.build.json"],
    outputs: ["dist/cli/kontain.js", "dist/cli/kontain-install.js"],
  },
  native: {
    title: "km and the Node addon",
    inputs: ["native", "kkm/include", "examples/c/hello.c", "binding.gyp", "scripts/sources.mjs"],
    outputs: ["build/bin/km", "build/Release/kontain_native.node", "build/tests/hello_test.km"],
  },
};

/** Folders beside the sources that no build of ours looks at. */
const ASIDE = new Set(["test", "tests", "fuzz"]);

/** One line for each file at or below `path`. */
function lines(path) {
  const stats = statSync(join(ROOT, path), { throwIfNoEntry: false });
  if (!stats) return [];
  if (!stats.isDirectory()) return [`${path} ${stats.size} ${stats.mtimeMs}`];
  const names = readdirSync(join(ROOT, path)).filter((name) => !ASIDE.has(name));
  return names.sort().flatMap((name) => lines(join(path, name)));
}

/** Names the state of a part's inputs; to be taken before a build begins. @param {Part} part */
export function inputsOf(part) {
  const all = PARTS[part].inputs.flatMap(lines).join("\n");
  return createHash("sha256").update(all).digest("hex");
}

const stampFile = (part) => join(ROOT, "build", `kontain-built-${part}`);

/** Notes that `part` was built from these inputs. @param {Part} part */
export function noteBuilt(part, inputs) {
  const path = stampFile(part);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.tmp`, inputs);
  renameSync(`${path}.tmp`, path);
}

/** Whether `part` is there, and made from what is there now. @param {Part} part */
export function isBuilt(part) {
  const path = stampFile(part);
  if (!PARTS[part].outputs.every((output) => existsSync(join(ROOT, output)))) return false;
  return existsSync(path) && readFileSync(path, "utf8") === inputsOf(part);
}
