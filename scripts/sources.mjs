#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Prints the source files of one native target, one a line, for binding.gyp and the linter:
//   core     the library: everything under native/ but the two doors
//   km       the door `km` (native/km)
//   binding  the door for Node (native/binding)
// `--has TARGET` prints yes or no. Paths are relative to the current directory, which gyp makes the repository root.
import { readdirSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const ROOT = "native";
const DOORS = { km: join(ROOT, "km"), binding: join(ROOT, "binding") };
const SOURCE = /\.(cc|c|S)$/;
// Things that live beside the sources but belong to a target of their own.
const ASIDE = /(^|\/)(test|tests|fuzz)\//;

function walk(dir, skip = []) {
  let names;
  try {
    names = readdirSync(dir);
  } catch {
    return [];
  }
  return names.sort().flatMap((name) => {
    const path = join(dir, name);
    if (skip.includes(path)) return [];
    return statSync(path).isDirectory() ? walk(path, skip) : [path];
  });
}

/** Source files of `target` ("core", "km", "binding"), sorted. */
export function sources(target) {
  if (target !== "core" && !(target in DOORS)) throw new Error(`sources: no native target named '${target}'`);
  const files = target === "core" ? walk(ROOT, Object.values(DOORS)) : walk(DOORS[target]);
  return files.filter((file) => SOURCE.test(file) && !ASIDE.test(file));
}

if (import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  const [first, second] = process.argv.slice(2);
  if (first === "--has") console.log(sources(second).length > 0 ? "yes" : "no");
  else for (const file of sources(first)) console.log(file);
}
