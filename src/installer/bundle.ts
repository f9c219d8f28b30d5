// SPDX-License-Identifier: Apache-2.0
// What this package installs: one row per file or folder of the package, its place under the prefix and its mode.
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { lstatIfThere, sha256 } from "../base/files.js";
import type { BundleFile } from "./facts.js";

interface Content {
  from: string;
  to: string;
  mode: number;
  /** Which files of a folder; default all. */
  only?: RegExp;
}

const CONTENT: Content[] = [
  { from: "build/bin/km", to: "bin/km", mode: 0o755 },
  { from: "build/tests/hello_test.km", to: "tests/hello_test.km", mode: 0o755 },
  { from: "examples", to: "examples", mode: 0o644 },
  // Sources only: a module built beside them in a checkout is for one kernel.
  {
    from: "kkm",
    to: "kkm",
    mode: 0o644,
    only: /(\/(Kbuild|Makefile|build\.sh|dkms\.conf)|\.rules|[^.]\.[chS])$/,
  },
  { from: "LICENSE", to: "LICENSE", mode: 0o644 },
];

/** The monitor and the payload that proves it, relative to a prefix. */
export const MONITOR = "bin/km";
export const HELLO = "tests/hello_test.km";

/** The package's folder: the nearest above this file with a package.json. The same from src/ and from dist/. */
export async function packageFolder(): Promise<string> {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!(await lstatIfThere(join(folder, "package.json")))) {
    if (dirname(folder) === folder) throw new Error("package.json of kontain-install not found");
    folder = dirname(folder);
  }
  return folder;
}

/** @param root folder of a package; default: this one */
export async function packageVersion(root?: string): Promise<string> {
  const text = await readFile(join(root ?? (await packageFolder()), "package.json"), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

async function filesIn(path: string): Promise<string[]> {
  const there = await lstatIfThere(path);
  if (!there) return [];
  if (!there.isDirectory()) return [path];
  const names = (await readdir(path)).sort();
  return (await Promise.all(names.map((name) => filesIn(join(path, name))))).flat();
}

/** Whether a path in the package is one of those that go onto the host. */
export function isContent(path: string): boolean {
  return CONTENT.some(({ from, only }) => {
    const within = path === from || path.startsWith(`${from}/`);
    return within && (!only || only.test(`/${path}`)) && !path.endsWith(".mod.c");
  });
}

/** The package's files for the host, and which of them are not there (not built). @param root its folder */
export async function readBundle(
  root?: string,
): Promise<{ version: string; files: BundleFile[]; missing: string[] }> {
  const folder = root ?? (await packageFolder());
  const files: BundleFile[] = [];
  const missing: string[] = [];
  for (const { from, to, mode } of CONTENT) {
    const all = await filesIn(join(folder, from));
    const found = all.filter((path) => isContent(relative(folder, path)));
    if (found.length === 0) missing.push(from);
    for (const source of found) {
      const target = join(to, relative(resolve(folder, from), source));
      files.push({ source, target, mode, sha256: await sha256(source) });
    }
  }
  return { version: await packageVersion(folder), files, missing };
}
