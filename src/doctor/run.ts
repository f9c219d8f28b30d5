// SPDX-License-Identifier: Apache-2.0
// Runs checks. A check that throws or hangs is a result like any other and hides no other.
import type { Check, Context, Finding, Verdict } from "./check.js";

export interface Result {
  id: string;
  title: string;
  verdict: Verdict;
  evidence: string;
  /** What to do; empty when there is nothing to do. */
  fix: string;
  milliseconds: number;
}

/** The longest a check may take: the payload has half of it. */
export const CHECK_SECONDS = 60;

async function within<T>(work: Promise<T>, seconds: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${seconds} seconds`)), seconds * 1000);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function resultOf(check: Check, finding: Finding, milliseconds: number): Result {
  const { id, title } = check;
  const needsFix = finding.verdict === "warn" || finding.verdict === "fail";
  const fix = needsFix ? (finding.fix ?? check.fix) : "";
  return { id, title, verdict: finding.verdict, evidence: finding.evidence, fix, milliseconds };
}

async function runOne(check: Check, context: Context, seconds: number): Promise<Result> {
  const began = performance.now();
  const took = () => Math.round(performance.now() - began);
  try {
    // A check that throws at once must not escape either.
    const finding = await within(
      Promise.resolve().then(() => check.run(context)),
      seconds,
    );
    return resultOf(check, finding, took());
  } catch (error) {
    const evidence = error instanceof Error ? error.message : String(error);
    const fix = "this is a mistake in the check: please report it with `kontain doctor --json`";
    return { id: check.id, title: check.title, verdict: "crash", evidence, fix, milliseconds: took() };
  }
}

/** Runs all at once; the results come in the checks' order. */
export function runChecks(
  checks: readonly Check[],
  context: Context,
  seconds = CHECK_SECONDS,
): Promise<Result[]> {
  return Promise.all(checks.map((check) => runOne(check, context, seconds)));
}

/** 0: nothing failed; 1: something did; 2: a check crashed. */
export function exitStatus(results: readonly Result[]): 0 | 1 | 2 {
  if (results.some(({ verdict }) => verdict === "crash")) return 2;
  return results.some(({ verdict }) => verdict === "fail") ? 1 : 0;
}
