// SPDX-License-Identifier: Apache-2.0
// Every described host: what detect finds there and what plan makes of it.
import { readdirSync } from "node:fs";
import test from "ava";
import { detect } from "../../src/installer/detect/detect.js";
import type { HostFacts } from "../../src/installer/facts.js";
import { plan } from "../../src/installer/plan/plan.js";
import { needsRoot } from "../../src/installer/plan/steps.js";
import { REASONS } from "../../src/installer/reasons.js";
import { doorsOf, type HostDescription, PREFIX, wishesOf } from "../fixtures/described-host.js";

const FOLDER = new URL("../fixtures/hosts/", import.meta.url);
const names = readdirSync(FOLDER).map((file) => file.replace(/\.ts$/, ""));

async function hostNamed(name: string): Promise<HostDescription> {
  return ((await import(new URL(`${name}.ts`, FOLDER).href)) as { default: HostDescription }).default;
}

/** The parts of `found` that `wanted` speaks of. */
function same(found: unknown, wanted: unknown): unknown {
  if (Array.isArray(wanted)) {
    return wanted.map((entry, at) => same((found as unknown[] | undefined)?.[at], entry));
  }
  if (typeof wanted !== "object" || wanted === null) return found;
  const entries = Object.entries(wanted).map(([key, value]) => [
    key,
    same((found as Record<string, unknown> | null | undefined)?.[key], value),
  ]);
  return Object.fromEntries(entries);
}

test("there are enough hosts, and every one says what it is", async (t) => {
  t.true(names.length >= 30, `${names.length} hosts`);
  const about = await Promise.all(names.map(async (name) => (await hostNamed(name)).about));
  t.true(about.every((text) => text.length > 3));
});

for (const name of names) {
  test(name, async (t) => {
    const host = await hostNamed(name);
    const wishes = wishesOf(host);
    const told: Partial<HostFacts>[] = [];
    const facts = await detect(wishes, (part) => told.push(part), doorsOf(host));
    t.deepEqual(same(facts, host.facts), host.facts as unknown, "facts");
    // What is told piece by piece is what comes out in the end.
    const { platform: _p, arch: _a, user: _u, bundle: _b, ...pieces } = facts;
    t.deepEqual(Object.assign({}, ...told), pieces);
    const decided = plan(facts, wishes);
    t.deepEqual(plan(structuredClone(facts), wishes), decided, "the same facts give the same plan");
    if ("refused" in host.plan) {
      if (decided.kind === "plan") return t.fail(`planned ${decided.device}`);
      t.is(decided.code, host.plan.refused, decided.reason);
      t.regex(decided.remedy, host.plan.fix);
      if (host.plan.evidence) t.regex(decided.reason, host.plan.evidence);
      t.true(decided.code in REASONS);
      return;
    }
    if (decided.kind === "refusal") return t.fail(`${decided.code}: ${decided.reason}`);
    t.is(decided.device, host.plan.device);
    const runs: string[] = decided.steps.flatMap((step) => (step.kind === "run" ? [step.name] : []));
    t.deepEqual(runs, host.plan.runs, "command steps");
    const outside = decided.steps.flatMap((step) =>
      (step.kind === "file" || step.kind === "text") && !step.path.startsWith(PREFIX) ? [step.path] : [],
    );
    if (host.plan.writes) t.deepEqual(outside, host.plan.writes);
    if (host.plan.runs.length === 0) t.deepEqual(outside, [], "nothing outside the prefix");
    for (const note of host.plan.notes ?? []) {
      t.true(
        decided.notes.some((line) => note.test(line)),
        `${note} in ${JSON.stringify(decided.notes)}`,
      );
    }
    t.is(decided.rootSteps, decided.steps.filter((step) => needsRoot(step, PREFIX)).length);
    t.true(decided.rootSteps === 0 || facts.user.uid === 0, "what needs root is planned for root only");
  });
}
