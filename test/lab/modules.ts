// SPDX-License-Identifier: Apache-2.0
// Which module files a guest must load, and in which order, for a wish like "kvm-amd". Debian's packages carry no
// modules.dep (depmod makes it on an installed system), so the dependencies are read from the modules themselves.

import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { execa } from "execa";

export interface ModuleFile {
  readonly name: string;
  /** The module's bytes, uncompressed. */
  readonly data: Buffer;
}

const moduleSuffix = /\.ko(\.xz|\.zst)?$/;
const canonical = (name: string) => name.replaceAll("-", "_");

async function uncompressed(path: string): Promise<Buffer> {
  if (path.endsWith(".ko")) return readFile(path);
  const program = path.endsWith(".xz") ? "xz" : "zstd";
  const { stdout } = await execa(program, ["--decompress", "--stdout", path], { encoding: "buffer" });
  return Buffer.from(stdout);
}

/** The names in a module's `depends=` field (in its .modinfo section, NUL-terminated key=value strings). */
export function moduleDepends(data: Buffer): string[] {
  const key = Buffer.from("\0depends=");
  const at = data.indexOf(key);
  if (at < 0) return [];
  const start = at + key.length;
  return data.toString("latin1", start, data.indexOf(0, start)).split(",").filter(Boolean);
}

async function indexOf(directory: string): Promise<Map<string, string>> {
  const files = await readdir(join(directory, "kernel"), { recursive: true });
  const index = new Map<string, string>();
  for (const file of files) {
    if (moduleSuffix.test(file)) {
      index.set(canonical(basename(file).replace(moduleSuffix, "")), join(directory, "kernel", file));
    }
  }
  return index;
}

function builtins(directory: string): Set<string> {
  const lines = readFileSync(join(directory, "modules.builtin"), "utf8").split("\n");
  return new Set(lines.map((line) => canonical(basename(line).replace(moduleSuffix, ""))));
}

/**
 * The modules `wanted` and all they need, dependencies first; what the kernel has built in is left out.
 * @param directory lib/modules/RELEASE of a kernel
 * @throws Error naming a module the kernel has neither as a file nor built in
 */
export async function moduleClosure(directory: string, wanted: readonly string[]): Promise<ModuleFile[]> {
  const index = await indexOf(directory);
  const builtin = builtins(directory);
  const loaded = new Map<string, ModuleFile>();
  const visit = async (wish: string): Promise<void> => {
    const name = canonical(wish);
    if (loaded.has(name) || builtin.has(name)) return;
    const path = index.get(name);
    if (!path) throw new Error(`the kernel in ${directory} has no module ${wish}`);
    const data = await uncompressed(path);
    for (const dependency of moduleDepends(data)) await visit(dependency);
    loaded.set(name, { name, data });
  };
  for (const wish of wanted) await visit(wish);
  return [...loaded.values()];
}
