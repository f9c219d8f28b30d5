#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Builds and runs the native unit tests: each test/native/*.cc is one program, linked with the core. Exit status 0 is
// success; a program may close with a line `[name: ]N passed, N failed`, which is then what is counted instead of 1.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, realpathSync } from "node:fs";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";

const FLAGS =
  "-std=c++20 -fno-exceptions -fno-rtti -fPIE -pie -O1 -g -pthread -Wall -Wextra -Werror -iquote . -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64".split(
    " ",
  );
const SECONDS = 300;
const BUILD = process.env.KONTAIN_BUILD_DIR || "build";

/** What a test is linked with: the core, and km's own parts but its main. */
function parts(build) {
  const door = join(build, "Release/obj.target/km/native/km");
  const objects = existsSync(door)
    ? readdirSync(door).filter((name) => name.endsWith(".o") && name !== "main.o")
    : [];
  return [...objects.map((name) => join(door, name)), join(build, "Release/kontain_core.a")];
}

/** Path of the program made from `source`, or undefined when the compiler has complained. */
export function compileTest(source, build = BUILD) {
  mkdirSync(join(build, "native-tests"), { recursive: true });
  const program = join(build, "native-tests", basename(source, ".cc"));
  const compile = spawnSync("g++", [...FLAGS, "-o", program, source, ...parts(build)], { stdio: "inherit" });
  return compile.status === 0 ? program : undefined;
}

function runOne(source, build) {
  const program = compileTest(source, build);
  if (!program) return { passed: 0, failed: 1 };
  const run = spawnSync(program, [], { encoding: "utf8", timeout: SECONDS * 1000, killSignal: "SIGKILL" });
  const output = `${run.stdout ?? ""}${run.stderr ?? ""}`;
  const closing = /^(?:\S+: )?(\d+) passed, (\d+) failed$/m.exec(run.stdout ?? "");
  const count = { passed: Number(closing?.[1] ?? 0), failed: Number(closing?.[2] ?? 0) };
  if (run.status === 0 && !closing) count.passed = 1;
  if (run.status !== 0 && count.failed === 0) count.failed = 1;
  const ending = run.signal ? `killed by ${run.signal}` : `exit ${run.status}`;
  console.log(`${source}: ${count.passed} passed, ${count.failed} failed`);
  if (count.failed > 0) console.log(`${output.trim()}\n${source}: ${ending}`);
  return count;
}

/** Runs all of them. Returns how many tests passed and failed. */
export function nativeTests(build = BUILD) {
  const sum = { passed: 0, failed: 0 };
  if (!existsSync("test/native")) return sum;
  for (const name of readdirSync("test/native").sort()) {
    if (!name.endsWith(".cc")) continue;
    const { passed, failed } = runOne(join("test/native", name), build);
    sum.passed += passed;
    sum.failed += failed;
  }
  return sum;
}

if (import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  const { passed, failed } = nativeTests();
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed > 0 ? 1 : 0);
}
