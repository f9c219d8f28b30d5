// SPDX-License-Identifier: Apache-2.0
// The lab's scheduling, caching, tables and reports, without a guest.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { buildOnce, withLock } from "./cache.js";
import { kernelById, kernels } from "./kernels.js";
import { projectRoot } from "./paths.js";
import { closingLine, count, details, table } from "./report.js";
import type { SuiteResult } from "./run-suite.js";
import { runJobs } from "./schedule.js";
import { type Choice, choose, roughMinutes, strangers } from "./selection.js";
import { notApplicable, suiteByName, suites } from "./suites.js";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test("jobs overlap as far as allowed and keep their order in the results", async (t) => {
  let running = 0;
  let most = 0;
  const jobs = [1, 2, 3, 4, 5].map((value) => ({
    cpus: 0,
    memoryMiB: 1,
    run: async () => {
      most = Math.max(most, ++running);
      await pause(10);
      running--;
      return value;
    },
  }));
  t.deepEqual(await runJobs(jobs, 2), [1, 2, 3, 4, 5]);
  t.is(most, 2);
});

test("a job larger than the host runs alone", async (t) => {
  let running = 0;
  const job = (cpus: number) => ({
    cpus,
    memoryMiB: 1,
    run: async () => {
      t.true(cpus < 4096 || running === 0);
      running++;
      await pause(5);
      running--;
    },
  });
  await runJobs([job(0), job(4096), job(0)]);
});

test("a directory is built once, and one that failed is not left behind", async (t) => {
  const root = mkdtempSync(join(tmpdir(), "lab-test-"));
  const path = join(root, "thing");
  await t.throwsAsync(
    buildOnce(path, () => Promise.reject(new Error("no"))),
    { message: "no" },
  );
  t.false(existsSync(path));
  let built = 0;
  const fill = async (partial: string) => {
    built++;
    await pause(20);
    writeFileSync(join(partial, "file"), "text");
  };
  await Promise.all([buildOnce(path, fill), buildOnce(path, fill)]);
  t.is(built, 1);
  t.is(readFileSync(join(path, "file"), "utf8"), "text");
  rmSync(root, { recursive: true });
});

test("a lock lets one in at a time and is free after a throw", async (t) => {
  let inside = 0;
  const work = () =>
    withLock("test-lock", async () => {
      t.is(++inside, 1);
      await pause(10);
      inside--;
    });
  await t.throwsAsync(
    withLock("test-lock", () => Promise.reject(new Error("out"))),
    { message: "out" },
  );
  await Promise.all([work(), work(), work()]);
});

test("the tables: names are unique, scripts and sources exist, every suite runs somewhere", (t) => {
  t.is(new Set(kernels.map(({ id }) => id)).size, kernels.length);
  t.is(new Set(suites.map(({ name }) => name)).size, suites.length);
  for (const suite of suites) {
    for (const path of [
      suite.script,
      ...(suite.programs ?? []).flatMap(({ sources }) => sources),
      ...(suite.builtModules ?? []),
    ]) {
      t.true(existsSync(join(projectRoot, path)), `${suite.name}: ${path}`);
    }
    t.true(
      kernels.some((kernel) => notApplicable(suite, kernel) === undefined),
      suite.name,
    );
    t.true(!suite.kvm || suite.cpus === 1 || suite.style === "initramfs", suite.name);
  }
  t.throws(() => kernelById("2.6"), { message: /"2.6".*6\.1/ });
  t.throws(() => suiteByName("nope"), { message: /"nope".*boot/ });
});

const wish = { kernels, suites, namedKernels: false, namedSuites: false, all: false };
const names = ({ cells }: Choice) => cells.map(({ kernel, suite }) => `${kernel.id} ${suite.name}`);

test("the default table can be waited for and leaves nothing out altogether", (t) => {
  const choice = choose(wish);
  t.deepEqual(strangers(suites), []);
  const twoProcessors = (roughMinutes(choice.cells) * availableParallelism()) / 2;
  t.true(twoProcessors < 90, `${twoProcessors} minutes`);
  for (const kernel of kernels) {
    const has = choice.cells.some((cell) => cell.kernel.id === kernel.id && cell.suite.name === "kkm");
    t.is(has, !("config" in kernel), kernel.id);
  }
  for (const { name } of suites) {
    if (name !== "install-dkms")
      t.true(
        names(choice).some((cell) => cell.endsWith(` ${name}`)),
        name,
      );
  }
  t.true(choice.leftOut > 0);
});

test("what is named runs, and --all is all", (t) => {
  const one = choose({
    ...wish,
    kernels: [kernelById("6.12-debug")],
    suites: [suiteByName("kkm")],
    namedKernels: true,
    namedSuites: true,
  });
  t.deepEqual(names(one), ["6.12-debug kkm"]);
  const all = choose({ ...wish, all: true });
  t.is(all.leftOut, 0);
  const applicable = kernels.flatMap((kernel) => suites.filter((suite) => !notApplicable(suite, kernel)));
  t.is(all.cells.length, applicable.length);
});

test("the report shows every outcome, and where to look", (t) => {
  const results: SuiteResult[] = [
    { kernel: "a", suite: "boot", outcome: "pass", seconds: 1.25 },
    {
      kernel: "a",
      suite: "kvm",
      outcome: "fail",
      seconds: 2,
      reason: "status 1: no",
      logPath: "/l",
      consolePath: "/c",
    },
    { kernel: "b", suite: "boot", outcome: "skip", seconds: 0, reason: "no mirror" },
  ];
  t.is(
    table(["a", "b"], ["boot", "kvm"], results, (kernel, suite) => `${kernel}${suite}?`),
    ["suite  a           b", "boot   pass 1.3 s  skip", "kvm    fail 2.0 s  bkvm?"].join("\n"),
  );
  t.is(
    details(results),
    ["fail a kvm: status 1: no", "  log: /l", "  console: /c", "skip b boot: no mirror"].join("\n"),
  );
  t.is(closingLine(count(results)), "1 passed, 1 failed, 1 skipped");
});
