// SPDX-License-Identifier: Apache-2.0
// The tests of Go's own standard library, compiled once.
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { find } from "../helpers/commands.js";
import { ROOT } from "../helpers/paths.js";
import { goTest } from "./parsers.js";
import type { Part, Suite } from "./suite.js";

const STORE = join(ROOT, "build/test/suites/go");
/** Package and bound in seconds. */
const PACKAGES: Readonly<Record<string, number>> = { os: 300, net: 600, sync: 300, runtime: 900 };

/** What the body of a test holds that builds programs with the compiler: most of its time, and none of Go's own. */
const BUILDS = new RegExp(
  [
    ...["runTestProg", "runBuiltTestProg", "buildTestProg", "GoToolPath", "MustHaveGoBuild", "MustHaveGoRun"],
    ...["testCrashHandler", "testGdbPython", "testDeadlock"],
    ...["testPanicDeadlock", "testLockOSThreadExit", "testCgoPprof"],
  ].join("|"),
);

/** Tests of a package's folder whose bodies say so. */
function builders(folder: string): Set<string> {
  const names = new Set<string>();
  for (const file of readdirSync(folder).filter((name) => name.endsWith("_test.go"))) {
    for (const body of readFileSync(join(folder, file), "utf8").split(/^func /m)) {
      const name = /^(Test\w+)\(/.exec(body)?.[1];
      if (name !== undefined && BUILDS.test(body)) names.add(name);
    }
  }
  return names;
}

/** The package's tests in two parts: those that stay in their process, and those that build programs. */
async function halves(whole: Part, sources: string): Promise<Part[]> {
  const [program = "", ...options] = whole.command;
  const { stdout } = await execa(program, ["-test.list", "."], {
    cwd: join(sources, whole.name),
    timeout: 60_000,
  });
  const building = builders(join(sources, whole.name));
  const tests = stdout.split("\n").filter((name) => /^Test\w+$/.test(name));
  const half = (name: string, of: readonly string[]): Part => ({
    ...whole,
    name,
    command: [program, ...options, `-test.run=^(${of.join("|")})$`],
  });
  return [
    half(
      whole.name,
      tests.filter((name) => !building.has(name)),
    ),
    half(
      `${whole.name}: programs it builds`,
      tests.filter((name) => building.has(name)),
    ),
  ];
}

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
      if (wanted && !wanted.some((part) => part.startsWith(name))) continue;
      const whole = await part(name, seconds, sources);
      parts.push(...(name === "runtime" ? await halves(whole, sources) : [whole]));
    }
    return parts;
  },
};
