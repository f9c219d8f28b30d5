// SPDX-License-Identifier: Apache-2.0
// Results as lines for people.
import { type Check, GROUPS, type Verdict } from "./check.js";
import type { Result } from "./run.js";

const SIGN: Record<Verdict, string> = { ok: "✔", warn: "!", fail: "✘", skip: "-", crash: "☠" };
const COLOR: Record<Verdict, number> = { ok: 32, warn: 33, fail: 31, skip: 90, crash: 35 };

export function groupOf(id: string): string {
  const key = id.split("-")[1] as keyof typeof GROUPS;
  return GROUPS[key] ?? "";
}

function paint(text: string, verdict: Verdict, color: boolean): string {
  return color ? `\u001b[${COLOR[verdict]}m${text}\u001b[39m` : text;
}

function resultLines(result: Result, color: boolean): string[] {
  const { id, title, verdict, evidence, fix } = result;
  const sign = paint(`${SIGN[verdict]} ${verdict.padEnd(5)}`, verdict, color);
  const lines = [`  ${sign} ${id}  ${title}: ${evidence}`];
  if (fix) lines.push(`${" ".repeat(24)}fix: ${fix}`);
  return lines;
}

/** Counts in words, worst first: "1 fail, 2 warn, 30 ok". */
export function summary(results: readonly Result[]): string {
  const order: Verdict[] = ["crash", "fail", "warn", "ok", "skip"];
  return order
    .map((verdict) => [verdict, results.filter((result) => result.verdict === verdict).length] as const)
    .filter(([, count]) => count > 0)
    .map(([verdict, count]) => `${count} ${verdict}`)
    .join(", ");
}

/** All results by group, what to do under each that needs it, and the counts. Skipped ones only when `all`. */
export function reportLines(results: readonly Result[], { color = false, all = false } = {}): string[] {
  const lines: string[] = [];
  let group = "";
  for (const result of results) {
    if (result.verdict === "skip" && !all) continue;
    if (groupOf(result.id) !== group) {
      group = groupOf(result.id);
      lines.push(group);
    }
    lines.push(...resultLines(result, color));
  }
  return [...lines, summary(results)];
}

/** For --list. */
export function listLines(checks: readonly Check[]): string[] {
  return checks.map(({ id, title }) => `${id.padEnd(13)} ${title}`);
}

/** docs/doctor.md. */
export function markdown(checks: readonly Check[]): string {
  const lines = [
    "# kontain doctor",
    "",
    "Looks at everything between the processor and a running program, changes nothing, and says what to do about what it",
    "finds. This file is generated from the checks (`npx tsx scripts/doctor-docs.ts`).",
    "",
    "```",
    "kontain doctor                          # everything",
    "kontain doctor --only KKM-DEV-003,KKM-MON   # some checks, or whole groups",
    "kontain doctor --list                   # the checks there are",
    "kontain doctor --json                   # for scripts: id, verdict, evidence, fix",
    "kontain doctor --bundle FILE            # results and facts for a report, without names and secrets",
    "```",
    "",
    "Verdicts: `ok`; `warn`, something could be better; `fail`, programs will not run, or not as they should; `skip`, it does",
    "not apply here; `crash`, the check itself failed. Exit status: 0 nothing failed, 1 something did, 2 a check crashed or",
    "wrong usage. Warnings do not change it, unless `--strict` counts them as failures.",
  ];
  let group = "";
  for (const { id, title, looks, fix } of checks) {
    if (groupOf(id) !== group) {
      group = groupOf(id);
      lines.push("", `## ${group.charAt(0).toUpperCase()}${group.slice(1)}`, "");
      lines.push("| id | what should be | what it looks at | what to do |", "| --- | --- | --- | --- |");
    }
    lines.push(`| ${[id, title, looks, fix].map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`);
  }
  return `${lines.join("\n")}\n`;
}
