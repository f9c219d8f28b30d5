// SPDX-License-Identifier: Apache-2.0
// The short form of the suites: `npm run suites` is the long one.
import test from "ava";
import { EMULATED } from "../helpers/device.js";
import { differencesOf } from "./differences.js";
import { judge } from "./judge.js";
import { SUITES } from "./table.js";

/** A part of the short form takes seconds; the bound is for a machine that is busy with other things. */
const MOST_SECONDS = 240;
const short = SUITES.filter((suite) => suite.quick.length > 0);
const parts = await Promise.all(
  short.map((suite) => (EMULATED ? "too slow on an emulated processor" : suite.prepare(suite.quick))),
);

for (const [i, suite] of short.entries()) {
  const title = `${suite.title}: ${suite.quick.join(", ")}`;
  const prepared = parts[i] ?? "nothing prepared";
  if (typeof prepared === "string") {
    test.serial.skip(`${title} (${prepared})`, () => undefined);
    continue;
  }
  test.serial(title, async (t) => {
    t.timeout(20 * 60_000);
    const differences = differencesOf(suite.name);
    const chosen = prepared.filter((part) => suite.quick.includes(part.name));
    t.is(chosen.length, suite.quick.length, "a part of the short form is not there");
    for (const part of chosen) {
      const { problems } = await judge(
        { ...part, seconds: Math.min(part.seconds, MOST_SECONDS) },
        differences,
      );
      t.deepEqual(problems, [], part.name);
    }
  });
}
