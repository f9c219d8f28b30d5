// SPDX-License-Identifier: Apache-2.0
import test from "ava";
import { busyboxTests, goTest, stressNg, tap, unittest } from "./parsers.js";

const of = (...entries: [string, string][]) => new Map(entries);

test("unittest: verdicts on the line, below a docstring, behind the test's own output", (t) => {
  const output = [
    "test_a (test.test_x.C.test_a) ... ok",
    "test_b (test.test_x.C.test_b)",
    "What it does. ... ok",
    "test_c (test.test_x.C.test_c) ... 12:00 some noise",
    "more noise",
    "ok",
    "test_d (test.test_x.C.test_d) ... skipped 'no network'",
    "test_e (test.test_x.C.test_e) ... expected failure",
    "test_f (test.test_x.C.test_f) ... FAIL",
    "test_g (test.test_x.C.test_g) ... printed without an end of lineok",
  ].join("\n");
  const expected = of(
    ["test_x.C.test_a", "pass"],
    ["test_x.C.test_b", "pass"],
    ["test_x.C.test_c", "pass"],
    ["test_x.C.test_d", "skip"],
    ["test_x.C.test_e", "pass"],
    ["test_x.C.test_f", "fail"],
    ["test_x.C.test_g", "pass"],
  );
  t.deepEqual(unittest(output), expected);
});

test("unittest: the list of failures has the last word; a case that never ended failed", (t) => {
  const ended = [
    "test_a (test_x.C.test_a) ... a child says ok",
    "test_b (test_x.C.test_b) ... ok",
    "======",
    "FAIL: test_a (test_x.C.test_a) (n=1)",
    "ok",
  ];
  t.deepEqual(unittest(ended.join("\n")), of(["test_x.C.test_a", "fail"], ["test_x.C.test_b", "pass"]));
  t.deepEqual(unittest("test_a (test_x.C.test_a) ... "), of(["test_x.C.test_a", "fail"]));
  t.deepEqual(unittest("Segmentation fault"), of());
});

test("go test: top level, output before the verdict, a test that never ended", (t) => {
  const output = [
    "=== RUN   TestA",
    "=== RUN   TestA/sub",
    "    --- PASS: TestA/sub (0.00s)",
    "--- PASS: TestA (0.00s)",
    "=== RUN   TestB",
    "without an end--- FAIL: TestB (0.10s)",
    "=== RUN   TestC",
    "--- SKIP: TestC (0.00s)",
    "=== RUN   TestD",
    "panic: test timed out",
  ].join("\n");
  t.deepEqual(goTest(output), of(["TestA", "pass"], ["TestB", "fail"], ["TestC", "skip"], ["TestD", "fail"]));
});

test("TAP: descriptions, directives, repeated descriptions", (t) => {
  const output = [
    "1..5",
    "ok 1 - opens",
    "not ok 2 - closes",
    "ok 3 opens",
    "ok 4 - later # SKIP no",
    "    ok 1 - nested",
  ];
  t.deepEqual(
    tap(output.join("\n")),
    of(["opens", "pass"], ["closes", "fail"], ["opens (2)", "pass"], ["later", "skip"]),
  );
});

test("busybox: a name that comes twice is as bad as its worse half", (t) => {
  const output = [
    "PASS: sort",
    "FAIL: sort",
    "PASS: sort",
    "SKIPPED: sed -z",
    "UNTESTED: cp",
    "PASS: cut -b a,a",
  ];
  t.deepEqual(
    busyboxTests(output.join("\n")),
    of(["sort", "fail"], ["sed -z", "skip"], ["cp", "skip"], ["cut -b a,a", "pass"]),
  );
});

test("stress-ng: done, declined, broken, killed", (t) => {
  const said = (text: string) => `stress-ng: info:  [1] dispatching hogs: 1 x\n${text}\n`;
  t.deepEqual(
    stressNg("x", said("stress-ng: info:  [1] successful run completed in 1.00s"), 0),
    of(["x", "pass"]),
  );
  t.deepEqual(
    stressNg("x", said("stress-ng: info:  [2] x: not supported, skipping stressor"), 0),
    of(["x", "skip"]),
  );
  t.deepEqual(stressNg("x", said("no more"), 3), of(["x", "skip"]));
  t.deepEqual(stressNg("x", said("stress-ng: fail:  [2] x: clone failed"), 3), of(["x", "fail"]));
  t.deepEqual(stressNg("skiplist", said("dispatching hogs: 1 skiplist"), 0), of(["skiplist", "pass"]));
  t.deepEqual(stressNg("x", said(""), "timeout"), of(["x", "fail"]));
});
