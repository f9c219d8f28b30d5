// SPDX-License-Identifier: Apache-2.0
// A Debian source package without touching apt's own lists: they seldom name sources.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { ROOT } from "../helpers/paths.js";

const STORE = join(ROOT, "build/test/suites/sources");
const MINUTES = 60_000;

/** One "deb-src" line for each archive the machine takes its packages from. */
async function sourceLines(): Promise<string[]> {
  const format = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(SIGNED_BY)"; // stays as it is where no key is named
  const { stdout } = await execa("apt-get", ["indextargets", "--format", format, "Identifier: Packages"]);
  const lines = new Set<string>();
  for (const line of stdout.split("\n")) {
    const [uri = "", release = "", component = "", key] = line.split(" ");
    if (!/(debian|ubuntu)/.test(uri) || component !== "main") continue;
    lines.add(`deb-src ${key?.startsWith("/") ? `[signed-by=${key}] ` : ""}${uri} ${release} ${component}`);
  }
  return [...lines];
}

async function fetch(name: string, scratch: string): Promise<void> {
  const lists = join(scratch, "lists");
  const cache = join(scratch, "cache");
  mkdirSync(join(lists, "partial"), { recursive: true });
  mkdirSync(join(cache, "archives/partial"), { recursive: true });
  writeFileSync(join(scratch, "sources.list"), `${(await sourceLines()).join("\n")}\n`);
  const options = [
    ["Dir::Etc::SourceList", join(scratch, "sources.list")],
    ["Dir::Etc::SourceParts", "/dev/null"],
    ["Dir::State::Lists", lists],
    ["Dir::Cache", cache],
  ].flatMap(([key, value]) => ["-o", `${key}=${value}`]);
  await execa("apt-get", ["-q", ...options, "update"], { timeout: 5 * MINUTES });
  await execa("apt-get", ["-q", ...options, "--download-only", "source", name], {
    cwd: scratch,
    timeout: 5 * MINUTES,
  });
}

/**
 * Fetches and unpacks the source package `name` once: its upstream part as upstream/, Debian's as debian/.
 * @returns the folder, or in one line why it cannot be had
 */
export async function sourceOf(name: string): Promise<{ readonly folder: string } | string> {
  const folder = join(STORE, name);
  if (existsSync(folder)) return { folder };
  mkdirSync(STORE, { recursive: true });
  const scratch = mkdtempSync(join(STORE, `.${name}-`));
  try {
    await fetch(name, scratch);
    const tree = join(scratch, "tree");
    mkdirSync(join(tree, "upstream"), { recursive: true });
    for (const file of readdirSync(scratch).filter((entry) => /\.tar\.\w+$/.test(entry))) {
      const upstream = file.includes(".orig.");
      const where = upstream ? ["-C", join(tree, "upstream"), "--strip-components=1"] : ["-C", tree];
      await execa("tar", ["-xf", join(scratch, file), ...where], { timeout: MINUTES });
    }
    renameSync(tree, folder);
    return { folder };
  } catch (error) {
    if (existsSync(folder)) return { folder }; // another run was first
    return `apt-get source ${name}: ${String(error instanceof Error ? error.message : error).split("\n")[0]}`;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
