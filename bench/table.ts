// SPDX-License-Identifier: Apache-2.0
// What a measurement is, the rounds in which all are taken, and the table they end in.

export interface Case {
  what: string;
  unit: string;
  /** The `what` of the row this one is divided by. */
  base?: string;
  /** One value in `unit`; throws an Error whose message says why it does not run. */
  measure: () => Promise<number>;
}

export interface Row {
  what: string;
  unit: string;
  runs: number;
  median: number | null;
  p25: number | null;
  p75: number | null;
  ratio: number | null;
  ratioTo: string | null;
  /** Why there is no value. */
  absent?: string;
}

/** Linear interpolation between the two nearest ranks. @param sorted ascending, not empty */
export function quantile(sorted: number[], q: number): number {
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

const reason = (error: unknown) => {
  const [first, ...more] = (error instanceof Error ? error.message : String(error)).trim().split("\n");
  return [first, more.at(-1)].filter(Boolean).join(" ... ");
};

/**
 * One run of each that is thrown away (it warms caches and shows what does not run here), then `runs` rounds of all, so
 * that every row meets the same weather. Every second round goes backwards: no row always follows the same one.
 * @param warmUp false: without that first run, for what runs long enough to warm up by itself
 */
export async function takeRounds(
  cases: Case[],
  { runs, warmUp }: { readonly runs: number; readonly warmUp: boolean },
  progress: (text: string) => void,
): Promise<Row[]> {
  const values = new Map<Case, number[]>(cases.map((one) => [one, []]));
  const absent = new Map<Case, string>();
  for (let round = warmUp ? 0 : 1; round <= runs; round++) {
    progress(round === 0 ? "warm-up" : `round ${round} of ${runs}`);
    for (const one of round % 2 ? cases : cases.toReversed()) {
      if (absent.has(one)) continue;
      try {
        const value = await one.measure();
        if (round > 0) values.get(one)?.push(value);
      } catch (error) {
        absent.set(one, reason(error));
      }
    }
  }
  const medians = new Map<string, number>();
  for (const [one, list] of values) {
    list.sort((a, b) => a - b);
    if (!absent.has(one)) medians.set(one.what, quantile(list, 0.5));
  }
  return cases.map((one) => toRow(one, values.get(one) ?? [], medians, absent.get(one)));
}

function toRow(one: Case, sorted: number[], medians: Map<string, number>, absent: string | undefined): Row {
  const { what, unit, base } = one;
  const row = { what, unit, runs: sorted.length, ratioTo: base ?? null };
  if (absent !== undefined) return { ...row, median: null, p25: null, p75: null, ratio: null, absent };
  const median = quantile(sorted, 0.5);
  const divisor = base === undefined ? undefined : medians.get(base);
  const ratio = divisor ? median / divisor : null;
  return { ...row, median, p25: quantile(sorted, 0.25), p75: quantile(sorted, 0.75), ratio };
}

/** Three significant digits, never an exponent. */
function show(value: number | null): string {
  if (value === null) return "-";
  if (value === 0) return "0";
  const digits = 2 - Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.min(4, Math.max(0, digits)));
}

/** The rows as a Markdown table. */
export function markdown(rows: Row[]): string {
  const lines = ["| what | median | p25 - p75 | unit | ratio | to |", "|---|--:|--:|---|--:|---|"];
  for (const { what, unit, median, p25, p75, ratio, ratioTo, absent } of rows) {
    if (absent !== undefined)
      lines.push(`| ${what} | does not run here: ${absent.replaceAll("|", "/")} | | | | |`);
    else {
      const spread = p25 === null ? "-" : `${show(p25)} - ${show(p75)}`;
      lines.push(
        `| ${what} | ${show(median)} | ${spread} | ${unit} | ${show(ratio)} | ${ratio === null ? "" : ratioTo} |`,
      );
    }
  }
  return lines.join("\n");
}
