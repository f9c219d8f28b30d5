#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// `npm test`: everything a change has to pass, from a bare clone. Sets the machine up, builds, lints, then runs the
// native tests and AVA. Ends with one line: N passed, N failed[, N skipped].
//   npm test -- --quick      without the linters
//   npm test -- FILE...      only these AVA files (patterns as AVA takes them)
// A phase that fails does not keep the next from running, except where that one needs its result.
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { lintNative } from "./lint-native.mjs";
import { inGuest, placeForMachines, suites } from "./machines.mjs";
import { nativeTests } from "./native-tests.mjs";
import { setup } from "./setup.mjs";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
/** Bound on the machine suites in the lab's guest, whose processor is emulated. */
const GUEST_SECONDS = 1500;
/** Lines of a failed test's details that are said again at the end, where a shortened log still has them. */
const DETAILS = 12;
const total = { passed: 0, failed: 0, skipped: 0 };
const failures = [];

function heading(text) {
  console.log(`\n== ${text}`);
}

function add({ passed = 0, failed = 0, skipped = 0 }, what) {
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
  if (failed > 0) failures.push(`${what}: ${failed} failed`);
}

/** Counts a check that either holds or does not as one test. */
function check(what, ok) {
  add(ok ? { passed: 1 } : { failed: 1 }, what);
  return ok;
}

function runs(command, args) {
  const done = spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (done.error) console.error(`${command}: ${done.error.message}`);
  return done.status === 0;
}

const script = (name, ...args) => runs(process.execPath, [join("scripts", name), ...args]);
const local = (bin, ...args) => runs(join("node_modules/.bin", bin), args);

/** Takes TAP lines and keeps what the failed tests among them said, shortly. */
function rememberFailures() {
  let left = 0;
  return (line) => {
    if (line.startsWith("not ok ")) left = DETAILS + 1;
    else if (/^ok |^ {2}\.\.\.$/.test(line)) left = 0;
    if (left-- > 0) failures.push(line);
  };
}

/** Runs AVA with TAP output, which it passes on, and adds up what its closing lines say. */
function ava(args, wrap = (command) => command) {
  const [program, ...rest] = wrap(["node_modules/.bin/ava", "--tap", ...args]);
  return new Promise((done) => {
    const count = { passed: 0, failed: 0, skipped: 0 };
    const names = { pass: "passed", fail: "failed", skip: "skipped" };
    const child = spawn(program, rest, { stdio: ["ignore", "pipe", "inherit"] });
    const remember = rememberFailures();
    createInterface({ input: child.stdout }).on("line", (line) => {
      const closing = /^# (pass|fail|skip) (\d+)$/.exec(line);
      remember(line);
      if (closing) count[names[closing[1]]] = Number(closing[2]);
      else if (!/^(TAP version|1\.\.\d|# tests )/.test(line)) console.log(line);
    });
    child.on("error", (error) => done({ failed: 1, error }));
    child.on("close", (code) => {
      // A run that broke off, or matched nothing, has no closing lines that say so.
      if (code !== 0 && count.failed === 0) count.failed = 1;
      if (count.passed + count.failed + count.skipped === 0) count.failed = 1;
      done(count);
    });
  });
}

async function main(args) {
  const quick = args.includes("--quick");
  const files = args.filter((arg) => arg !== "--quick");
  process.chdir(ROOT);

  heading("set-up");
  if (!check("set-up", setup(["build", "test"]))) return;
  // Not a failure: the tests that want a guest of the lab say so themselves where there is none.
  if (!quick) setup(["lab"]);
  if (!existsSync("node_modules/.package-lock.json")) {
    // Not `npm ci`: it refuses a lock file made where some optional platform packages could not be looked up.
    console.log("setup: npm install");
    const install = ["install", "--ignore-scripts", "--no-save", "--no-audit", "--no-fund"];
    if (!check("npm install", runs("npm", install))) return;
  }

  heading("build");
  if (!check("build", script("build.mjs"))) return;

  if (!quick && files.length === 0) {
    heading("format and lint (biome)");
    check("biome", local("biome", "check", "--error-on-warnings", "."));
    heading("types (tsc)");
    check("tsc", local("tsc", "--noEmit"));
    heading("native lint (clang-tidy)");
    check("clang-tidy", (await lintNative()).length === 0);
  }
  if (files.length > 0) {
    add(await ava(files), "AVA");
    return;
  }
  heading("native tests");
  add(nativeTests(), "native tests");
  const { machine, other } = suites();
  heading("tests without a machine (AVA)");
  add(await ava(other), "AVA");
  await machineSuites(machine);
}

/** The suites that start virtual machines: here, or in the lab's guest. */
async function machineSuites(files) {
  heading("tests with machines (AVA)");
  if (files.length === 0) return;
  const { where, why } = placeForMachines();
  console.log(where === "guest" ? `no usable device here (${why}): running in the lab's QEMU guest` : why);
  if (!check("a place to run machines", where !== "nowhere")) return;
  add(
    await ava(files, where === "guest" ? (command) => inGuest(command, GUEST_SECONDS) : undefined),
    "machine suites",
  );
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(error);
  add({ failed: 1 }, "the test run itself");
}
console.log("");
for (const failure of failures) console.log(failure);
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
process.exitCode = total.failed > 0 ? 1 : 0;
