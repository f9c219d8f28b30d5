// SPDX-License-Identifier: Apache-2.0
// Where things are, and how to leave nothing behind.
import { chmodSync, copyFileSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
/** The monitor under test; KONTAIN_KM names another one. */
export const KM = resolve(process.env.KONTAIN_KM ?? join(ROOT, "build/bin/km"));
/** Where test/payloads is built; KONTAIN_TEST_PAYLOADS names another folder. */
export const PAYLOADS = resolve(process.env.KONTAIN_TEST_PAYLOADS ?? join(ROOT, "build/test/payloads"));
export const INPUTS = join(ROOT, "test/programs/inputs");

/** Calls `use` with an empty directory that is gone afterwards. */
export async function inScratch<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "km-test-"));
  try {
    return await use(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Copies of `files` in `directory` that every user may execute: the checkout may lie where only its owner gets. */
export function copiesForAll(directory: string, files: readonly string[]): string[] {
  chmodSync(directory, 0o755);
  return files.map((file) => {
    const copy = join(directory, basename(file));
    copyFileSync(file, copy);
    chmodSync(copy, 0o755);
    return copy;
  });
}

/** The nearest folder on the way to `path` that not every user may pass, or undefined. */
export function closedFolder(path: string): string | undefined {
  const folder = dirname(path);
  if (folder === path) return undefined;
  return (statSync(folder).mode & 0o001) === 0 ? folder : closedFolder(folder);
}
