// SPDX-License-Identifier: Apache-2.0
// How the watch view looks on this terminal: colours unless NO_COLOR (no-color.org), bars where it knows UTF-8.
export interface Style {
  color: boolean;
  unicode: boolean;
}

export function styleOf(env: NodeJS.ProcessEnv): Style {
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || "";
  return { color: !env.NO_COLOR && env.TERM !== "dumb", unicode: /utf-?8/i.test(locale) };
}

const BARS = [..." ▁▂▃▄▅▆▇█"];
const ASCII_BARS = [..." .:-=+*#%"];

/** Shares of a CPU as one character each; whole is full, more than one CPU is full as well. */
export function sparkline(values: number[], width: number, { unicode }: Style): string {
  const bars = unicode ? BARS : ASCII_BARS;
  const top = bars.length - 1;
  const bar = (value: number) => bars[Math.min(top, Math.ceil(Math.max(0, value) * top))] ?? " ";
  return values.slice(-width).map(bar).join("").padStart(width);
}

/** For a share of a CPU. */
export function heat(value: number | undefined): "gray" | "green" | "yellow" | "red" {
  if (value === undefined || value < 0.01) return "gray";
  if (value < 0.5) return "green";
  return value < 0.9 ? "yellow" : "red";
}

/** `text` in `width` cells. */
export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 3))}...`.slice(0, width);
}
