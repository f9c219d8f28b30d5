#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Builds the native core (node-gyp: `km` and the Node addon) and the TypeScript. Incremental.
//   build.mjs              both
//   build.mjs --native     native only;  --ts  TypeScript only
//   build.mjs --build-dir DIR (or KONTAIN_BUILD_DIR): native build elsewhere, leaving ./build alone
// Results: <build>/bin/km (stripped), <build>/Release/km (with symbols), <build>/Release/kontain_native.node,
// <build>/tests/hello_test.km, dist/.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setup } from "./setup.mjs";
import { sources } from "./sources.mjs";
import { inputsOf, noteBuilt, ROOT } from "./stamps.mjs";
import { versionPart } from "./version.mjs";

const GYP_INPUTS = ["binding.gyp", "native/flags.gypi", "native/plain.gypi", "package-lock.json"];

class BuildError extends Error {}

function run(command, args, options = {}) {
  const done = spawnSync(command, args, { stdio: "inherit", ...options });
  if (done.error) throw new BuildError(`cannot run ${command}: ${done.error.message}`);
  if (done.status !== 0) throw new BuildError(`${[command, ...args].join(" ")} failed (see above)`);
}

/** Makes `path` a symbolic link to `target`, whatever link stood there. */
function link(target, path) {
  rmSync(path, { force: true });
  symlinkSync(target, path);
}

/** gyp writes to ./build of the folder it runs in; another build folder is a folder of links to this tree. */
function gypFolder(buildDir) {
  if (buildDir === join(ROOT, "build")) return ROOT;
  const farm = join(buildDir, "gyp");
  mkdirSync(farm, { recursive: true });
  for (const name of [
    "native",
    "kkm",
    "scripts",
    "binding.gyp",
    "node_modules",
    "package.json",
    "package-lock.json",
  ]) {
    link(join(ROOT, name), join(farm, name));
  }
  return farm;
}

/** Where this node's own headers are, if they came with it; otherwise node-gyp fetches them. */
function nodeHeaders() {
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, "include/node/node_api.h")) ? [`--nodedir=${prefix}`] : [];
}

/** Variables that gyp writes into the makefiles it makes. */
const GYP_VARIABLES = ["CC", "CXX", "AR", "LINK", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS"];

/** Changes when gyp has to run again: its inputs, the list of sources, what km says of itself, node, the compiler. */
function configureStamp() {
  const hash = createHash("sha256").update(process.version);
  for (const name of GYP_VARIABLES) hash.update(`${name}=${process.env[name] ?? ""}\n`);
  for (const file of GYP_INPUTS) hash.update(readFileSync(join(ROOT, file)));
  for (const target of ["core", "km", "binding"]) hash.update(sources(target).join("\n"));
  for (const part of ["version", "branch", "sha"]) hash.update(`${versionPart(part)}\n`);
  return hash.digest("hex");
}

function nodeGyp(folder, args) {
  const gyp = join(ROOT, "node_modules/node-gyp/bin/node-gyp.js");
  if (!existsSync(gyp)) throw new BuildError("node-gyp is not installed: run `npm install` first");
  run(process.execPath, [gyp, ...args, "--loglevel=warn", ...nodeHeaders()], { cwd: folder });
}

function newer(input, output) {
  return !existsSync(output) || statSync(input).mtimeMs > statSync(output).mtimeMs;
}

/** Makes `output` with `make(temporary)`, so that it is there whole or not at all. */
function produce(output, make) {
  mkdirSync(dirname(output), { recursive: true });
  const temporary = `${output}.${process.pid}.tmp`;
  try {
    make(temporary);
    renameSync(temporary, output);
  } finally {
    rmSync(temporary, { force: true });
  }
}

function buildNative(buildDir) {
  if (sources("core").length === 0) throw new BuildError("native/ holds no sources");
  const folder = gypFolder(buildDir);
  const stampFile = join(folder, "build/kontain-configured");
  const stamp = configureStamp();
  if (!existsSync(stampFile) || readFileSync(stampFile, "utf8") !== stamp) {
    console.log("build: configure");
    nodeGyp(folder, ["configure"]);
    writeFileSync(stampFile, stamp);
  }
  const fresh = !existsSync(join(folder, "build/Release/obj.target"));
  const count = ["core", "km", "binding"].reduce((all, target) => all + sources(target).length, 0);
  console.log(`build: native${fresh ? ` (${count} files)` : ""}`);
  nodeGyp(folder, ["build", `--jobs=${availableParallelism()}`]);
  const release = join(folder, "build/Release");
  const km = join(buildDir, "bin/km");
  if (existsSync(join(release, "km")) && newer(join(release, "km"), km)) {
    produce(km, (file) => run("strip", ["-o", file, join(release, "km")]));
  }
  if (folder !== ROOT) link("gyp/build/Release", join(buildDir, "Release"));
  buildHello(buildDir);
  if (existsSync(km)) console.log(`build: ${km}`);
}

/** The payload that proves an installation: an ordinary C program, statically linked, nothing of ours in it. */
function buildHello(buildDir) {
  const source = join(ROOT, "examples/c/hello.c");
  const output = join(buildDir, "tests/hello_test.km");
  if (!existsSync(source) || !newer(source, output)) return;
  produce(output, (file) =>
    run("gcc", ["-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s", "-o", file, source]),
  );
}

function buildTypeScript() {
  if (!existsSync(join(ROOT, "src"))) return;
  console.log("build: TypeScript");
  run(process.execPath, [
    join(ROOT, "node_modules/typescript/bin/tsc"),
    "-p",
    join(ROOT, "tsconfig.build.json"),
  ]);
}

function main(args) {
  const at = args.indexOf("--build-dir");
  const buildDir = resolve((at >= 0 ? args[at + 1] : process.env.KONTAIN_BUILD_DIR) || join(ROOT, "build"));
  process.chdir(ROOT);
  if (!args.includes("--ts")) {
    if (!setup(["build"], { quiet: true }))
      throw new BuildError("the native build needs the packages named above");
    const inputs = inputsOf("native");
    buildNative(buildDir);
    if (buildDir === join(ROOT, "build")) noteBuilt("native", inputs);
  }
  if (!args.includes("--native")) {
    const inputs = inputsOf("typescript");
    buildTypeScript();
    noteBuilt("typescript", inputs);
  }
}

// npx links a clone and runs its `prepare`, of which npm shows nothing: there bin/launch.mjs builds.
const underNpx = process.env.npm_command === "exec" && process.env.npm_lifecycle_event === "prepare";

try {
  if (!underNpx) main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error(`build: ${error.message}`);
  process.exit(1);
}
