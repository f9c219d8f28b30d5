// SPDX-License-Identifier: Apache-2.0
// Verdicts out of what suites print. Each takes everything a run printed and tells only what is written there: a case
// that was begun and has no verdict failed.
import type { Verdict, Verdicts } from "./verdicts.js";

/** "test_read (test.test_io.CIOTest.test_read) ... ok": the name, the identity, the rest of the line. */
const UNITTEST_START = /^(\w+) \(([\w.]+)\)(.*)$/;
const UNITTEST_HEADER = /^(?:ERROR|FAIL|UNEXPECTED SUCCESS): (\w+) \(([\w.]+)\)/;
/** The test's own output may stand before it on the line. */
const UNITTEST_END = /(?:^|\.\.\. |.)(ok|FAIL|ERROR|expected failure|unexpected success|skipped ['"].*)$/;

function unittestVerdict(text: string): Verdict | undefined {
  const word = UNITTEST_END.exec(text)?.[1];
  if (word === undefined) return undefined;
  if (word.startsWith("skipped")) return "skip";
  return word === "ok" || word === "expected failure" ? "pass" : "fail";
}

/** "test.test_io.CIOTest.test_read" and "test_io.CIOTest.test_read" are the same case. */
function unittestName(identity: string): string {
  return identity.replace(/^test\./, "");
}

/** Python's `unittest -v`, also below regrtest. The closing list of failures has the last word. */
export function unittest(output: string): Verdicts {
  const found = new Map<string, Verdict>();
  let current: string | undefined;
  let inHeaders = false;
  for (const line of output.split("\n")) {
    const header = UNITTEST_HEADER.exec(line);
    if (header?.[2] !== undefined) {
      inHeaders = true;
      current = undefined;
      found.set(unittestName(header[2]), "fail");
      continue;
    }
    const start = inHeaders ? null : UNITTEST_START.exec(line);
    if (start?.[2] !== undefined) {
      current = unittestName(start[2]);
      found.set(current, "fail");
    }
    if (current === undefined) continue;
    const verdict = unittestVerdict(start ? (start[3] ?? "") : line);
    if (verdict === undefined) continue;
    found.set(current, verdict);
    current = undefined;
  }
  return found;
}

/** `go test -v`, top level only: names of sub-tests hold paths and numbers. */
export function goTest(output: string): Verdicts {
  const found = new Map<string, Verdict>();
  for (const [, name = ""] of output.matchAll(/^=== RUN +(\S+)$/gm)) {
    if (!name.includes("/")) found.set(name, "fail");
  }
  for (const [, word, name = ""] of output.matchAll(/--- (PASS|FAIL|SKIP): (\S+) \(\d/g)) {
    if (!name.includes("/")) found.set(name, word === "PASS" ? "pass" : word === "SKIP" ? "skip" : "fail");
  }
  return found;
}

/** TAP, nesting left out; a case is its description (with a number when a description comes again). */
export function tap(output: string): Verdicts {
  const found = new Map<string, Verdict>();
  for (const [, not, description = "", directive] of output.matchAll(
    /^(not )?ok \d+(?: -)?(?: ([^#\n]*))?(?:# *(SKIP|TODO)[^\n]*)?/gim,
  )) {
    const base = description.trim() || "(no description)";
    let name = base;
    for (let again = 2; found.has(name); again++) name = `${base} (${again})`;
    found.set(name, directive ? "skip" : not ? "fail" : "pass");
  }
  return found;
}

/** busybox's testsuite/runtest: "PASS: name". SKIPPED and UNTESTED are skips. */
export function busyboxTests(output: string): Verdicts {
  const found = new Map<string, Verdict>();
  for (const [, word, rest = ""] of output.matchAll(/^(PASS|FAIL|SKIPPED|UNTESTED): (.*)$/gm)) {
    const name = rest.trim();
    if (found.get(name) === "fail") continue; // a name that comes twice is as bad as its worse half
    found.set(name, word === "PASS" ? "pass" : word === "FAIL" ? "fail" : "skip");
  }
  return found;
}

/**
 * stress-ng with one stressor, by its exit status (man 1 stress-ng): 0 done, 3 not implemented or no resource.
 * Stressors that look and decline end with 0 and say so.
 */
export function stressNg(name: string, output: string, status: number | string): Verdicts {
  const declined = /skipp(?:ing|ed)|No stress workers invoked|not implemented|must not run as root/i.test(
    output,
  );
  const broken = /^stress-ng: fail:/m.test(output);
  if (broken || typeof status !== "number" || (status !== 0 && status !== 3 && !declined))
    return new Map([[name, "fail"]]);
  return new Map([[name, declined || status === 3 ? "skip" : "pass"]]);
}
