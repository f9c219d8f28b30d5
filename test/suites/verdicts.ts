// SPDX-License-Identifier: Apache-2.0
// What a suite says of its own cases, and how two runs of it are compared.

/** "skip": the suite itself decided not to run the case. */
export type Verdict = "pass" | "fail" | "skip";
export type Verdicts = ReadonlyMap<string, Verdict>;

/** A case that passes natively and is known not to pass under km. */
export interface Difference {
  readonly part: string;
  readonly case: string;
  readonly reason: string;
}

export interface Comparison {
  readonly native: number;
  readonly km: number;
  /** Cases that differ and are listed. */
  readonly listed: readonly string[];
  /** Cases that differ and are not. */
  readonly unlisted: readonly { readonly case: string; readonly km: Verdict | "not reached" }[];
  /** Listed cases that pass on both sides. */
  readonly stale: readonly string[];
  /** Cases only km passes: told, not judged. */
  readonly onlyKm: readonly string[];
}

function passed(verdicts: Verdicts): number {
  return [...verdicts.values()].filter((verdict) => verdict === "pass").length;
}

/**
 * Compares the runs of one part. Only what passes natively can differ: a case that this machine fails or skips by
 * itself says nothing about km, and does not make a listed entry stale either.
 */
export function compare(
  native: Verdicts,
  km: Verdicts,
  differences: readonly Pick<Difference, "case">[],
): Comparison {
  const known = new Set(differences.map((difference) => difference.case));
  const passing = [...native].filter(([, verdict]) => verdict === "pass").map(([name]) => name);
  const differing = passing.filter((name) => km.get(name) !== "pass");
  return {
    native: passed(native),
    km: passed(km),
    listed: differing.filter((name) => known.has(name)),
    unlisted: differing
      .filter((name) => !known.has(name))
      .map((name) => ({ case: name, km: km.get(name) ?? "not reached" })),
    stale: passing.filter((name) => known.has(name) && km.get(name) === "pass"),
    onlyKm: [...km]
      .filter(([name, verdict]) => verdict === "pass" && native.get(name) === "fail")
      .map(([name]) => name),
  };
}
