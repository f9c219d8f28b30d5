// SPDX-License-Identifier: Apache-2.0
// The lab's results as a table suite x kernel, as details, as one line.

import type { Outcome, SuiteResult } from "./run-suite.js";

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export function count(results: readonly SuiteResult[]): Counts {
  const of = (outcome: Outcome) => results.filter((result) => result.outcome === outcome).length;
  return { passed: of("pass"), failed: of("fail"), skipped: of("skip") };
}

export function cellText(result: SuiteResult): string {
  return result.outcome === "skip" ? "skip" : `${result.outcome} ${result.seconds.toFixed(1)} s`;
}

/** Rows of padded columns. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((text, at) => {
      widths[at] = Math.max(widths[at] ?? 0, text.length);
    });
  }
  return rows
    .map((row) =>
      row
        .map((text, at) => text.padEnd(widths[at] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/**
 * A row for each suite, a column for each kernel, of which there are fewer.
 * @param otherwise what stands where there is no result
 */
export function table(
  kernelIds: readonly string[],
  suiteNames: readonly string[],
  results: readonly SuiteResult[],
  otherwise: (kernel: string, suite: string) => string,
): string {
  const rows = suiteNames.map((suite) => {
    const cells = kernelIds.map((kernel) => {
      const result = results.find((one) => one.kernel === kernel && one.suite === suite);
      return result ? cellText(result) : otherwise(kernel, suite);
    });
    return [suite, ...cells];
  });
  return columns([["suite", ...kernelIds], ...rows]);
}

/** Everything a reader needs about what did not pass, or not plainly. */
export function details(results: readonly SuiteResult[]): string {
  const lines = results
    .filter((result) => result.outcome !== "pass" || result.note)
    .flatMap((result) => [
      `${result.outcome} ${result.kernel} ${result.suite}: ${[result.reason, result.note].filter(Boolean).join("; ")}`,
      ...(result.outcome === "fail" && result.logPath ? [`  log: ${result.logPath}`] : []),
      ...(result.outcome === "fail" && result.consolePath ? [`  console: ${result.consolePath}`] : []),
    ]);
  return lines.join("\n");
}

/** What suites of figures printed, each under its own heading. */
export function figures(results: readonly SuiteResult[]): string {
  return results
    .flatMap((result) => (result.figures ? [`${result.suite} on ${result.kernel}\n${result.figures}`] : []))
    .join("\n\n");
}

export function closingLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}
