#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// What `km --version` says of itself: prints `version`, `branch` or `sha` (as asked) of this tree; the last two are empty
// outside a git clone.
import { spawnSync } from "node:child_process";
import { readFileSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");

function git(...args) {
  const done = spawnSync("git", ["-C", ROOT, ...args], { encoding: "utf8" });
  return done.status === 0 ? done.stdout.trim() : "";
}

const READERS = {
  version: () => JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).version,
  branch: () => git("rev-parse", "--abbrev-ref", "HEAD"),
  sha: () => git("rev-parse", "--short=12", "HEAD"),
};

/** One of version, branch, sha. */
export function versionPart(name) {
  return READERS[name]();
}

if (import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  console.log(versionPart(process.argv[2]));
}
