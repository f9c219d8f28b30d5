// SPDX-License-Identifier: Apache-2.0
// The table of reasons in docs/install.md.
import { REASONS } from "./reasons.js";

const BEGIN = "<!-- reasons: npx tsx scripts/doctor-docs.ts -->";
const END = "<!-- end of reasons -->";

export function reasonsTable(): string {
  const rows = Object.entries(REASONS).map(([id, { when, fix }]) => `| ${id} | ${when} | ${fix} |`);
  return ["| reason | when | what to do |", "| --- | --- | --- |", ...rows].join("\n");
}

/** The document with the table between its marks renewed. */
export function withReasons(document: string): string {
  const [before, rest] = document.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined)
    throw new Error("docs/install.md has lost the marks of its table");
  return `${before}${BEGIN}\n${reasonsTable()}\n${END}${after}`;
}
