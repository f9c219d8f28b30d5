// SPDX-License-Identifier: Apache-2.0
// docs/kkm.md is where the module's counters and build.sh's exit statuses are described: all of them, and no others.

import { readFileSync } from "node:fs";
import test from "ava";

const docs = readFileSync("docs/kkm.md", "utf8");

/** First cells of the rows of the table under a heading, code quotes off. */
function firstCells(heading: string): string[] {
  const section = docs.split(/^## /m).find((text) => text.startsWith(`${heading}\n`));
  if (!section) throw new Error(`docs/kkm.md has no section "${heading}"`);
  const rows = [...section.matchAll(/^\| ([^|]+) \|/gm)].map(([, cell]) =>
    (cell ?? "").replaceAll("`", "").trim(),
  );
  return rows.slice(2);
}

test("the counters in the documentation are the module's", (t) => {
  const header = readFileSync("kkm/kkm.h", "utf8");
  const names = [...header.matchAll(/^\tX\((\w+), "/gm)].map(([, name]) => name);
  t.true(names.length > 10);
  t.deepEqual(firstCells("Counters"), names);
});

test("the exit statuses in the documentation are build.sh's", (t) => {
  const script = readFileSync("kkm/build.sh", "utf8");
  const used = new Set([...script.matchAll(/\bfail (\d+) /g)].map(([, status]) => status));
  t.true(used.size > 5);
  t.deepEqual(firstCells("Exit statuses of build.sh"), [
    "0",
    ...[...used].map(String).sort((a, b) => +a - +b),
  ]);
});
