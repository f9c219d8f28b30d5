// SPDX-License-Identifier: Apache-2.0
// What a run of the suites ends with: the table, also as the page docs/compatibility.md is made of.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Judged } from "./judge.js";
import type { Suite } from "./suite.js";
import type { Difference } from "./verdicts.js";

export interface SuiteReport {
  readonly suite: Suite;
  readonly differences: readonly Difference[];
  readonly judged: readonly Judged[];
  /** Why it did not run. */
  readonly skipped?: string;
}

interface Row {
  readonly name: string;
  readonly native: number;
  readonly km: number;
  readonly listed: number;
  readonly nativeSeconds: number;
  readonly kmSeconds: number;
}

function rowOf(name: string, judged: readonly Judged[]): Row {
  const sum = (of: (part: Judged) => number) => judged.reduce((total, part) => total + of(part), 0);
  return {
    name,
    native: sum((part) => part.comparison.native),
    km: sum((part) => part.comparison.km),
    listed: sum((part) => part.comparison.listed.length),
    nativeSeconds: Math.round(sum((part) => part.native.seconds)),
    kmSeconds: Math.round(sum((part) => part.km.seconds)),
  };
}

/** Parts of one case each (stressors) are told as one row. */
function rowsOf({ suite, judged }: SuiteReport): Row[] {
  const total = rowOf(suite.title, judged);
  if (judged.length < 2 || judged.length > 20) return [total];
  return [total, ...judged.map((part) => rowOf(`… ${part.part}`, [part]))];
}

export function markdownTable(reports: readonly SuiteReport[]): string {
  const rows = reports.flatMap(rowsOf);
  const cells = rows.map((row) =>
    [row.name, row.native, row.km, row.listed, `${row.nativeSeconds} s`, `${row.kmSeconds} s`].join(" | "),
  );
  const head = [
    "| suite | passes natively | passes under km | listed differences | native time | time under km |",
    "| --- | --: | --: | --: | --: | --: |",
  ];
  return [...head, ...cells.map((cell) => `| ${cell} |`)].join("\n");
}

function listOf(reports: readonly SuiteReport[]): string {
  const lines = reports.flatMap(({ suite, differences }) =>
    differences.map(({ part, case: name, reason }) => {
      const what = name === part ? part : `${part}: ${name}`;
      return `| ${suite.name} | ${what} | ${reason} |`;
    }),
  );
  return ["| suite | case | why it differs |", "| --- | --- | --- |", ...lines].join("\n");
}

function excludedOf(reports: readonly SuiteReport[]): string {
  const lines = reports.flatMap(({ suite }) =>
    suite.excluded.map(({ name, reason }) => `| ${suite.name} | ${name} | ${reason} |`),
  );
  return ["| suite | left out | why |", "| --- | --- | --- |", ...lines].join("\n");
}

/** Replaces what stands between `<!-- name -->` and `<!-- /name -->`. */
export function replaceSection(page: string, name: string, text: string): string {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  if (from < 0 || to < from) throw new Error(`no section ${begin} ... ${end}`);
  return `${page.slice(0, from + begin.length)}\n${text}\n${page.slice(to)}`;
}

/**
 * Writes the generated sections of the page: the figures of the suites that ran as a whole, and the lists.
 * @param reports of every suite, for the lists
 */
export function writePage(
  file: string,
  reports: readonly SuiteReport[],
  whole: readonly SuiteReport[],
): void {
  let page = readFileSync(file, "utf8");
  for (const report of whole)
    page = replaceSection(page, `figures ${report.suite.name}`, markdownTable([report]));
  page = replaceSection(page, "differences", listOf(reports));
  page = replaceSection(page, "excluded", excludedOf(reports));
  writeFileSync(`${file}.new`, page);
  renameSync(`${file}.new`, file);
}
