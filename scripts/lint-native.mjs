#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// clang-tidy over native/ (checks: .clang-tidy), two files at a time. A file that passed is not looked at again until
// it, a header it includes, the checks or clang-tidy change: .cache/lint holds one empty file per passed state.
//   lint-native.mjs [FILE...]    only those files
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { sources } from "./sources.mjs";

const exec = promisify(execFile);
const CACHE = ".cache/lint";
const TIDY = "clang-tidy-14";

function flags(file) {
  const node = `${process.execPath.replace(/\/bin\/[^/]*$/, "")}/include/node`;
  const door = file.startsWith("native/binding/")
    ? [
        "-isystem",
        node,
        "-isystem",
        "node_modules/node-addon-api",
        "-DNAPI_VERSION=8",
        "-DNAPI_DISABLE_CPP_EXCEPTIONS",
      ]
    : [];
  const language = file.endsWith(".c") ? ["-std=c11"] : ["-std=c++20", "-fno-exceptions", "-fno-rtti"];
  return [
    ...language,
    "-iquote",
    ".",
    "-D_GNU_SOURCE",
    "-D_FILE_OFFSET_BITS=64",
    "-Wall",
    "-Wextra",
    ...door,
  ];
}

/** Hash of everything the verdict on `file` depends on. */
async function state(file, common) {
  const { stdout } = await exec("g++", ["-MM", ...flags(file), file]);
  const inputs = stdout
    .replace(/^[^:]*:/, "")
    .split(/[\s\\]+/)
    .filter(Boolean)
    .sort();
  const hash = createHash("sha256").update(common).update(flags(file).join(" "));
  for (const input of inputs) hash.update(input).update(readFileSync(input));
  return hash.digest("hex");
}

async function lintOne(file, common) {
  let passed;
  try {
    passed = join(CACHE, await state(file, common));
    if (existsSync(passed)) return "cached";
    await exec(TIDY, ["--quiet", file, "--", ...flags(file)], { maxBuffer: 64 << 20 });
  } catch (error) {
    console.error(`${error.stdout || error.stderr || error}`.trim());
    return "failed";
  }
  writeFileSync(passed, "");
  return "passed";
}

/** Lints `files` (default: all C and C++ sources under native/). Returns the files that failed. */
export async function lintNative(files) {
  const all = files ?? ["core", "km", "binding"].flatMap(sources).filter((file) => !file.endsWith(".S"));
  mkdirSync(CACHE, { recursive: true });
  const { stdout: version } = await exec(TIDY, ["--version"]);
  const common = version + readFileSync(".clang-tidy", "utf8");
  const queue = [...all];
  const count = { cached: 0, passed: 0, failed: 0 };
  const bad = [];
  const worker = async () => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      const verdict = await lintOne(file, common);
      count[verdict]++;
      if (verdict === "failed") bad.push(file);
    }
  };
  await Promise.all([worker(), worker()]);
  console.log(
    `lint: ${count.passed} files passed, ${count.cached} unchanged since they passed, ${count.failed} failed`,
  );
  return bad;
}

if (import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  const files = process.argv.slice(2);
  process.exit((await lintNative(files.length > 0 ? files : undefined)).length > 0 ? 1 : 0);
}
