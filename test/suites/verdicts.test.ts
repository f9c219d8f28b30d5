// SPDX-License-Identifier: Apache-2.0
import test from "ava";
import { differencesOf } from "./differences.js";
import { replaceSection } from "./report.js";
import { SUITES } from "./table.js";
import { compare, type Verdict } from "./verdicts.js";

const of = (entries: Record<string, Verdict>) => new Map(Object.entries(entries));

test("what passes on both sides is no difference", (t) => {
  const found = compare(of({ a: "pass", b: "pass" }), of({ a: "pass", b: "pass" }), []);
  t.deepEqual(found, { native: 2, km: 2, listed: [], unlisted: [], stale: [], onlyKm: [] });
});

test("failed, skipped and not reached under km are differences, listed or not", (t) => {
  const native = of({ a: "pass", b: "pass", c: "pass", d: "pass" });
  const found = compare(native, of({ a: "fail", b: "skip", d: "fail" }), [{ case: "d" }]);
  t.deepEqual(found.listed, ["d"]);
  t.deepEqual(found.unlisted, [
    { case: "a", km: "fail" },
    { case: "b", km: "skip" },
    { case: "c", km: "not reached" },
  ]);
});

test("a listed case that passes is stale", (t) => {
  const found = compare(of({ a: "pass" }), of({ a: "pass" }), [{ case: "a" }]);
  t.deepEqual(found.stale, ["a"]);
  t.deepEqual(found.unlisted, []);
});

test("what this machine cannot do natively says nothing about km", (t) => {
  const native = of({ a: "fail", b: "skip" });
  const found = compare(native, of({ a: "pass", b: "fail" }), [{ case: "a" }, { case: "b" }, { case: "c" }]);
  t.deepEqual([found.stale, found.unlisted, found.listed], [[], [], []]);
  t.deepEqual(found.onlyKm, ["a"]);
});

for (const suite of SUITES) {
  test(`the list of ${suite.name} is complete and names nothing twice`, (t) => {
    t.notThrows(() => differencesOf(suite.name));
    t.is(new Set(suite.excluded.map((entry) => entry.name)).size, suite.excluded.length);
  });
}

test("sections of the page are replaced, others stay", (t) => {
  const page = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n";
  t.is(replaceSection(page, "x", "new"), "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n");
  t.throws(() => replaceSection(page, "y", "new"), { message: /no section/ });
});
