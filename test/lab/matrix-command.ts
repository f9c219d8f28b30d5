// SPDX-License-Identifier: Apache-2.0
// `lab` without a verb: suites on kernels, one table.

import { cachedVersion } from "./kernel-files.js";
import { kernelById, kernels } from "./kernels.js";
import { qemuPath } from "./qemu.js";
import { closingLine, columns, count, details, figures, table } from "./report.js";
import { environment } from "./run-command.js";
import { runSuite, type SuiteResult } from "./run-suite.js";
import { type Job, runJobs } from "./schedule.js";
import { type Cell, type Choice, choose, roughMinutes, type Wish } from "./selection.js";
import { suiteByName, suites } from "./suites.js";

export interface MatrixOptions {
  readonly kernel?: readonly string[];
  readonly suite?: readonly string[];
  readonly all: boolean;
  readonly jobs?: number;
  readonly env: readonly string[];
  readonly timeout?: number;
  readonly json: boolean;
  readonly keep: boolean;
}

// QEMU's own needs beside the guest's memory: the translation cache above all
const qemuOverheadMiB = 512;

const stops = ["SIGHUP", "SIGINT", "SIGTERM"] as const;

function announce({ cells, leftOut }: Choice, jobs: number | undefined): void {
  const minutes = Math.ceil(roughMinutes(cells, jobs));
  const rest = leftOut > 0 ? `; ${leftOut} more with --all` : "";
  process.stderr.write(`${cells.length} cells, some ${minutes} minutes on a quiet host${rest}\n`);
}

/** The whole result as it stands: of a run that was stopped, what came before. */
function print(results: readonly SuiteResult[], wish: Wish, choice: Choice, json: boolean): void {
  const counts = count(results);
  if (json) {
    process.stdout.write(`${JSON.stringify({ ...counts, results }, null, 2)}\n`);
    return;
  }
  const otherwise = (kernel: string, suite: string) =>
    choice.absent(kernelById(kernel), suiteByName(suite)) ?? "not run";
  const kernelIds = wish.kernels.map(({ id }) => id);
  const suiteNames = wish.suites.map(({ name }) => name);
  const notRun = choice.cells.length - results.length;
  const parts = [
    table(kernelIds, suiteNames, results, otherwise),
    choice.leftOut > 0 ? `-: left out; --all, or naming the suite, runs it` : "",
    figures(results),
    details(results),
  ];
  const closing = `${closingLine(counts)}${notRun > 0 ? `; stopped, ${notRun} not run` : ""}`;
  process.stdout.write(`\n${parts.filter(Boolean).join("\n\n")}\n\n${closing}\n`);
}

/** @returns 0 when something passed and nothing failed, else 1 */
export async function matrixCommand(options: MatrixOptions): Promise<number> {
  qemuPath();
  const wish: Wish = {
    kernels: options.kernel?.map(kernelById) ?? kernels,
    suites: options.suite?.map(suiteByName) ?? suites,
    namedKernels: options.kernel !== undefined,
    namedSuites: options.suite !== undefined,
    all: options.all,
  };
  const choice = choose(wish);
  const how = { keep: options.keep, env: environment(options.env), timeoutSeconds: options.timeout };
  const results: SuiteResult[] = [];
  const job = ({ kernel, suite }: Cell): Job<void> => {
    const run = async () => {
      const result = await runSuite(suite, kernel, how);
      results.push(result);
      const line = `${result.outcome} ${kernel.id} ${suite.name} ${result.seconds.toFixed(1)} s`;
      const where = `[${results.length}/${choice.cells.length}]`;
      process.stderr.write(`${where} ${line}${result.reason ? ` (${result.reason})` : ""}\n`);
    };
    const memoryMiB = (suite.memoryMiB ?? (suite.style === "root" ? 3072 : 1024)) + qemuOverheadMiB;
    return { cpus: suite.cpus, memoryMiB, run };
  };
  announce(choice, options.jobs);
  // before main.ts's own listeners, which end the process
  const stopped = () => print(results, wish, choice, options.json);
  for (const signal of stops) process.prependOnceListener(signal, stopped);
  await runJobs(choice.cells.map(job), options.jobs);
  for (const signal of stops) process.off(signal, stopped);
  print(results, wish, choice, options.json);
  const { passed, failed } = count(results);
  return failed === 0 && passed > 0 ? 0 : 1;
}

/** `lab --list` */
export function listCommand(): void {
  const kernelRows = kernels.map((kernel) => [
    kernel.id,
    "config" in kernel ? `${kernel.release} ${kernel.source}` : `${kernel.release} ${kernel.flavour}`,
    cachedVersion(kernel) ?? "not fetched yet",
  ]);
  const suiteRows = suites.map(({ name, style, summary }) => [name, style, summary]);
  const text = [
    columns([["KERNEL", "FROM", "IN THE CACHE"], ...kernelRows]),
    columns([["SUITE", "GUEST", "WHAT IT SHOWS"], ...suiteRows]),
  ];
  process.stdout.write(`${text.join("\n\n")}\n`);
}
