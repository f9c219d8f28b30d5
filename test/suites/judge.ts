// SPDX-License-Identifier: Apache-2.0
// Runs a part on both sides and says what is wrong, if anything.
import { type Run, runNatively, runUnderKm } from "./run.js";
import type { Part } from "./suite.js";
import { type Comparison, compare, type Difference } from "./verdicts.js";

export interface Judged {
  readonly part: string;
  readonly comparison: Comparison;
  readonly native: Run;
  readonly km: Run;
  /** Why the part fails; none when it is as the list says. */
  readonly problems: readonly string[];
}

const LINES = 30;

/** What a run ended with: the part of its output that is worth a look. */
function ending(run: Run): string {
  const last = run.output.trimEnd().split("\n").slice(-LINES);
  return last.map((line) => `      ${line.slice(0, 200)}`).join("\n");
}

function problemsOf(
  comparison: Comparison,
  native: Run,
  km: Run,
  listed: ReadonlyMap<string, string>,
): string[] {
  const problems = comparison.stale.map(
    (name) => `${name} no longer differs (${listed.get(name)}): remove it, the list can only shrink`,
  );
  for (const found of comparison.unlisted)
    problems.push(`${found.case} passes natively; under km: ${found.km}`);
  if (native.verdicts.size === 0)
    problems.push(`the native run (${native.status}) has no verdicts:\n${ending(native)}`);
  if (comparison.unlisted.length > 0) {
    problems.push(`the run under km (${km.status}) ended with\n${ending(km)}`);
  }
  return problems;
}

/** @param differences the suite's list; other parts' entries are left aside */
export async function judge(part: Part, differences: readonly Difference[]): Promise<Judged> {
  const mine = differences.filter((difference) => difference.part === part.name);
  const native = await runNatively(part);
  const km = await runUnderKm(part);
  const comparison = compare(native.verdicts, km.verdicts, mine);
  const reasons = new Map(mine.map((difference) => [difference.case, difference.reason]));
  return { part: part.name, comparison, native, km, problems: problemsOf(comparison, native, km, reasons) };
}
