// SPDX-License-Identifier: Apache-2.0
// The short form of the suites: `npm run suites` is the long one.
import test from "ava";
import { EMULATED } from "../helpers/device.js";
import { differencesOf } from "./differences.js";
import { judge } from "./judge.js";
import { SUITES } from "./table.js";

/** A part of the short form takes seconds; the bound is for a machine that is busy with other things. */
const MOST_SECONDS = 240;
/** What is short here takes the better part of an hour on the lab's emulated processor. */
const run = EMULATED ? test.serial.skip : test.serial;

for (const suite of SUITES.filter((one) => one.quick.length > 0)) {
  run(`${suite.title}: ${suite.quick.join(", ")}`, async (t) => {
    t.timeout(20 * 60_000);
    const differences = differencesOf(suite.name);
    const prepared = await suite.prepare(suite.quick);
    if (typeof prepared === "string") {
      t.log(`skipped: ${prepared}`);
      t.pass();
      return;
    }
    const parts = prepared.filter((part) => suite.quick.includes(part.name));
    t.is(parts.length, suite.quick.length, "a part of the short form is not there");
    for (const part of parts) {
      const { problems } = await judge(
        { ...part, seconds: Math.min(part.seconds, MOST_SECONDS) },
        differences,
      );
      t.deepEqual(problems, [], part.name);
    }
  });
}
