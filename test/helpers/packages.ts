// SPDX-License-Identifier: Apache-2.0
// Debian packages without installing them: fetched by apt, unpacked into the build folder. A server's package would
// start the server and stay on the machine; the test only wants its files.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { ROOT } from "./paths.js";

const STORE = join(ROOT, "build/test/packages");
const LIBRARIES = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

export interface Unpacked {
  /** Where the packages' files are, as if it were the root directory. */
  readonly root: string;
  /** Makes the dynamic linker find the packages' libraries. */
  readonly env: Readonly<Record<string, string>>;
}

async function download(packages: readonly string[], into: string): Promise<void> {
  const fetch = () => execa("apt-get", ["-q", "download", ...packages], { cwd: into, timeout: 240_000 });
  try {
    await fetch();
  } catch (error) {
    if (process.getuid?.() !== 0) throw error;
    await execa("apt-get", ["-q", "update"], { timeout: 240_000 });
    await fetch();
  }
}

/**
 * Fetches and unpacks `packages` once; later calls find them.
 * @param name of the folder they share
 * @returns where they are, or in one line why they cannot be had
 */
export async function unpack(name: string, packages: readonly string[]): Promise<Unpacked | string> {
  const root = join(STORE, name);
  const libraries = LIBRARIES.map((folder) => join(root, folder)).join(":");
  const unpacked = { root, env: { LD_LIBRARY_PATH: libraries } };
  if (existsSync(root)) return unpacked;
  mkdirSync(STORE, { recursive: true });
  const scratch = mkdtempSync(join(STORE, `.${name}-`));
  try {
    await download(packages, scratch);
    const tree = join(scratch, "tree");
    for (const file of readdirSync(scratch).filter((entry) => entry.endsWith(".deb"))) {
      await execa("dpkg-deb", ["-x", join(scratch, file), tree], { timeout: 120_000 });
    }
    renameSync(tree, root);
    return unpacked;
  } catch (error) {
    if (existsSync(root)) return unpacked; // another run was first
    return `apt-get download ${packages.join(" ")}: ${String(error instanceof Error ? error.message : error).split("\n")[0]}`;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Folder of an executable of the packages, for PATH. */
export function folderOf(unpacked: Unpacked, file: string): string {
  return dirname(join(unpacked.root, file));
}
