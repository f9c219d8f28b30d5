// SPDX-License-Identifier: Apache-2.0
// The test-suite of an npm package that comes with its tests, on the machine's node. Versions: packages/package.json.
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { find } from "../helpers/commands.js";
import { ROOT } from "../helpers/paths.js";
import { tap } from "./parsers.js";
import type { Suite } from "./suite.js";

const STORE = join(ROOT, "build/test/suites");
const FOLDER = join(STORE, "npm");
const LISTS = fileURLToPath(new URL("packages/", import.meta.url));

/** Installs the packages once, without their scripts. Returns in one line why that cannot be. */
async function install(): Promise<string | undefined> {
  if (existsSync(FOLDER)) return undefined;
  mkdirSync(STORE, { recursive: true });
  const scratch = mkdtempSync(join(STORE, ".npm-"));
  try {
    for (const name of ["package.json", "package-lock.json"])
      copyFileSync(join(LISTS, name), join(scratch, name));
    await execa("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
      cwd: scratch,
      timeout: 300_000,
    });
    renameSync(scratch, FOLDER);
    return undefined;
  } catch (error) {
    if (existsSync(FOLDER)) return undefined; // another run was first
    return `npm ci: ${String(error instanceof Error ? error.message : error).split("\n")[0]}`;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

export const NPM: Suite = {
  name: "npm",
  title: "qs, an npm package",
  quick: [], // fetched from the registry
  excluded: [],
  prepare: async () => {
    const node = find("node");
    if (node === undefined) return "apt-get install nodejs";
    const why = await install();
    if (why !== undefined) return why;
    const cwd = join(FOLDER, "node_modules/qs");
    return [
      {
        name: "qs",
        command: [node, "../tape/bin/tape", "test/**/*.js"],
        cwd,
        seconds: 600,
        verdicts: tap,
      },
    ];
  },
};
