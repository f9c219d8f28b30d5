// SPDX-License-Identifier: Apache-2.0
// The tests of Go's own standard library, compiled once.
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { find } from "../helpers/commands.js";
import { ROOT } from "../helpers/paths.js";
import { goTest } from "./parsers.js";
import type { Part, Suite } from "./suite.js";

const STORE = join(ROOT, "build/test/suites/go");
/** Package and bound in seconds. */
const PACKAGES: Readonly<Record<string, number>> = { os: 300, net: 600, sync: 300, runtime: 1500 };

async function part(name: string, seconds: number, sources: string): Promise<Part> {
  const program = join(STORE, `${name}.test`);
  const cache = { GOCACHE: join(STORE, "cache"), GOFLAGS: "-p=1" };
  if (!existsSync(program)) {
    const env = { ...cache, HOME: STORE };
    await execa("go", ["test", "-c", "-o", program, name], { env, cwd: STORE, timeout: 900_000 });
  }
  return {
    name,
    command: [program, "-test.v", "-test.short", `-test.timeout=${seconds - 10}s`],
    cwd: join(sources, name),
    env: { ...cache, GOROOT: sources.replace(/\/src$/, "") },
    seconds,
    verdicts: goTest,
  };
}

export const GO: Suite = {
  name: "go",
  title: "Go standard library tests, -short",
  quick: ["sync"],
  excluded: [],
  prepare: async (wanted) => {
    if (find("go") === undefined) return "apt-get install golang-go";
    const { stdout } = await execa("go", ["env", "GOROOT"]);
    const sources = join(stdout.trim(), "src");
    if (!existsSync(join(sources, "os/os_test.go"))) return "apt-get install golang-src";
    mkdirSync(STORE, { recursive: true });
    const parts: Part[] = [];
    for (const [name, seconds] of Object.entries(PACKAGES)) {
      if (wanted && !wanted.includes(name)) continue;
      parts.push(await part(name, seconds, sources));
    }
    return parts;
  },
};
