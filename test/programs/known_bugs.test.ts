// SPDX-License-Identifier: Apache-2.0
// known_bugs.ts names lines and tests that exist: the payloads run natively here, under km in features.test.ts.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { ROOT } from "../helpers/paths.js";
import { buildPayloads, payload } from "../helpers/payloads.js";
import { here } from "../helpers/place.js";
import { KNOWN_BUGS } from "./known_bugs.js";
import { FEATURES } from "./table.js";

const SECONDS = 120;

test.before(async (t) => {
  t.timeout(600_000);
  const complaint = await buildPayloads();
  if (complaint) t.log(complaint);
});

const payloads = new Set(
  KNOWN_BUGS.flatMap(({ evidence }) => ("payload" in evidence ? [evidence.payload] : [])),
);

for (const name of payloads) {
  test.serial(`${name} shows what it is named for`, async (t) => {
    t.timeout(600_000);
    t.true(
      FEATURES.some((kase) => kase.name === name),
      "it is compared under km",
    );
    const run = await here.inScratch((cwd) =>
      here.run({ command: [payload(`machine/${name}`)], cwd, seconds: SECONDS }),
    );
    const lines = run.stdout.toString().split("\n");
    const missing = KNOWN_BUGS.filter(
      ({ evidence }) =>
        "payload" in evidence &&
        evidence.payload === name &&
        !lines.some((line) => line.startsWith(`${evidence.line}:`) || line.startsWith(`${evidence.line},`)),
    );
    t.deepEqual(
      missing.map(({ evidence }) => evidence),
      [],
      run.stderr,
    );
  });
}

test("every test that is named exists", (t) => {
  const missing = KNOWN_BUGS.filter(({ evidence }) => {
    if ("payload" in evidence) return false;
    return !readFileSync(join(ROOT, evidence.file), "utf8").includes(`"${evidence.title}"`);
  });
  t.deepEqual(missing, []);
});
