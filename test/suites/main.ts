// SPDX-License-Identifier: Apache-2.0
// npm run suites: other people's test-suites, natively and under km.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../helpers/paths.js";
import { differencesOf } from "./differences.js";
import { type Judged, judge } from "./judge.js";
import { markdownTable, type SuiteReport, writePage } from "./report.js";
import type { Suite } from "./suite.js";
import { SUITES } from "./table.js";

const PAGE = join(ROOT, "docs/compatibility.md");
const LOGS = join(ROOT, "build/test/suites/logs");
const USAGE = `usage: npm run suites -- [--suite NAME]... [--only PART]... [--list] [--json] [--quick] [--write]
  --suite NAME  one of ${SUITES.map((suite) => suite.name).join(", ")}; default all
  --only PART   these parts only; several, or separated by commas
  --quick       the parts that belong to npm test
  --list        names the parts and runs nothing
  --json        a line of JSON for each part
  --write       puts the figures of whole suites, and the lists, into docs/compatibility.md`;

interface Wish {
  readonly suites: readonly Suite[];
  readonly only: readonly string[];
  readonly quick: boolean;
  readonly list: boolean;
  readonly json: boolean;
  readonly write: boolean;
}

function commaed(values: readonly string[] | undefined): string[] {
  return (values ?? []).flatMap((value) => value.split(",")).filter((value) => value !== "");
}

function wishOf(args: readonly string[]): Wish {
  const { values } = parseArgs({
    args: [...args],
    options: {
      suite: { type: "string", multiple: true },
      only: { type: "string", multiple: true },
      quick: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      write: { type: "boolean", default: false },
    },
  });
  const names = commaed(values.suite);
  const unknown = names.find((name) => !SUITES.some((suite) => suite.name === name));
  if (unknown !== undefined) throw new Error(`no suite is called ${unknown}`);
  const suites = SUITES.filter((suite) => names.length === 0 || names.includes(suite.name));
  const { quick, list, json, write } = values;
  return { suites, only: commaed(values.only), quick, list, json, write };
}

function keepLogs(suite: string, judged: Judged): void {
  const name = judged.part.replaceAll(/[^\w-]/g, "-");
  writeFileSync(join(LOGS, `${suite}-${name}.native`), judged.native.output, "latin1");
  writeFileSync(join(LOGS, `${suite}-${name}.km`), judged.km.output, "latin1");
}

function tell(suite: Suite, judged: Judged, json: boolean): void {
  const { comparison, native, km, problems } = judged;
  if (json) {
    const figures = { native: comparison.native, km: comparison.km, listed: comparison.listed };
    const times = { nativeSeconds: native.seconds, kmSeconds: km.seconds };
    const part = {
      suite: suite.name,
      part: judged.part,
      ...figures,
      ...times,
      onlyKm: comparison.onlyKm,
      problems,
    };
    process.stdout.write(`${JSON.stringify(part)}\n`);
    return;
  }
  const listed = comparison.listed.length > 0 ? `, ${comparison.listed.length} listed` : "";
  const times = `${native.seconds.toFixed(1)} s and ${km.seconds.toFixed(1)} s`;
  const mark = problems.length > 0 ? "✘" : "✔";
  const passes = `native ${comparison.native}, km ${comparison.km}${listed}`;
  process.stdout.write(`${mark} ${suite.name} ${judged.part}: ${passes} (${times})\n`);
  for (const problem of problems) process.stdout.write(`    ${problem}\n`);
}

async function runSuite(suite: Suite, wish: Wish): Promise<SuiteReport> {
  const differences = differencesOf(suite.name);
  const wanted = wish.only.length > 0 ? wish.only : wish.quick ? suite.quick : undefined;
  const prepared = await suite.prepare(wanted);
  if (typeof prepared === "string") {
    process.stderr.write(`- ${suite.name} is skipped: ${prepared}\n`);
    return { suite, differences, judged: [], skipped: prepared };
  }
  const parts = prepared.filter((part) => wanted === undefined || wanted.includes(part.name));
  const judged: Judged[] = [];
  for (const part of parts) {
    if (wish.list) {
      process.stdout.write(`${suite.name} ${part.name}\n`);
      continue;
    }
    const one = await judge(part, differences);
    keepLogs(suite.name, one);
    tell(suite, one, wish.json);
    // Outputs are megabytes; the logs have them.
    judged.push({ ...one, native: { ...one.native, output: "" }, km: { ...one.km, output: "" } });
  }
  return { suite, differences, judged };
}

function writeFigures(wish: Wish, reports: readonly SuiteReport[]): void {
  const parts = wish.only.length > 0 || wish.quick;
  const whole = parts ? [] : reports.filter((report) => report.skipped === undefined);
  const lists = SUITES.map((suite) => ({ suite, differences: differencesOf(suite.name), judged: [] }));
  writePage(PAGE, lists, whole);
}

async function main(): Promise<number> {
  let wish: Wish;
  try {
    wish = wishOf(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n${USAGE}\n`);
    return 2;
  }
  mkdirSync(LOGS, { recursive: true });
  const reports: SuiteReport[] = [];
  for (const suite of wish.suites) reports.push(await runSuite(suite, wish));
  if (wish.list) return 0;
  const judged = reports.flatMap((report) => report.judged);
  if (judged.length === 0) {
    process.stderr.write("nothing was run: --list names the parts\n");
    return 2;
  }
  if (!wish.json) process.stdout.write(`\n${markdownTable(reports)}\n`);
  if (wish.write) writeFigures(wish, reports);
  const failed = judged.filter((part) => part.problems.length > 0).length;
  if (!wish.json) process.stdout.write(`\n${judged.length - failed} passed, ${failed} failed\n`);
  return failed > 0 ? 1 : 0;
}

process.exitCode = await main();
