// SPDX-License-Identifier: Apache-2.0
// `lab` without a verb: suites on kernels, one table.

import { cachedVersion } from "./kernel-files.js";
import { kernelById, kernels } from "./kernels.js";
import { qemuPath } from "./qemu.js";
import { closingLine, columns, count, details, figures, table } from "./report.js";
import { environment } from "./run-command.js";
import { runSuite, type SuiteResult } from "./run-suite.js";
import { type Job, runJobs } from "./schedule.js";
import { notApplicable, suiteByName, suites } from "./suites.js";

export interface MatrixOptions {
  readonly kernel?: readonly string[];
  readonly suite?: readonly string[];
  readonly jobs?: number;
  readonly env: readonly string[];
  readonly timeout?: number;
  readonly json: boolean;
  readonly keep: boolean;
}

// QEMU's own needs beside the guest's memory: the translation cache above all
const qemuOverheadMiB = 512;

/** @returns 0 when something passed and nothing failed, else 1 */
export async function matrixCommand(options: MatrixOptions): Promise<number> {
  qemuPath();
  const chosenKernels = options.kernel?.map(kernelById) ?? kernels;
  const chosenSuites = options.suite?.map(suiteByName) ?? suites;
  const how = { keep: options.keep, env: environment(options.env), timeoutSeconds: options.timeout };
  const jobs: Job<SuiteResult>[] = [];
  for (const kernel of chosenKernels) {
    for (const suite of chosenSuites) {
      if (notApplicable(suite, kernel)) continue;
      const run = async () => {
        const result = await runSuite(suite, kernel, how);
        const line = `${result.outcome} ${kernel.id} ${suite.name} ${result.seconds.toFixed(1)} s`;
        process.stderr.write(`${line}${result.reason ? ` (${result.reason})` : ""}\n`);
        return result;
      };
      const memoryMiB = (suite.memoryMiB ?? (suite.style === "root" ? 3072 : 1024)) + qemuOverheadMiB;
      jobs.push({ cpus: suite.cpus, memoryMiB, run });
    }
  }
  const results = await runJobs(jobs, options.jobs);
  const counts = count(results);
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ ...counts, results }, null, 2)}\n`);
  } else {
    const names = chosenSuites.map(({ name }) => name);
    const parts = [
      table(
        chosenKernels.map(({ id }) => id),
        names,
        results,
      ),
      figures(results),
      details(results),
    ];
    process.stdout.write(`\n${parts.filter(Boolean).join("\n\n")}\n\n${closingLine(counts)}\n`);
  }
  return counts.failed === 0 && counts.passed > 0 ? 0 : 1;
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
