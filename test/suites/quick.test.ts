// SPDX-License-Identifier: Apache-2.0
// The short form of the suites: `npm run suites` is the long one. On the lab's emulated processor it takes many minutes:
// there it runs only when the lab asks for it.
import test from "ava";
import { EMULATED } from "../helpers/device.js";
import { PATIENCE } from "../helpers/place.js";
import { differencesOf } from "./differences.js";
import { judge } from "./judge.js";
import { prepareQuick } from "./quick.js";

const ASKED = process.env.KONTAIN_QUICK_SUITES === "1";

/** A part of the short form takes seconds; the bound is for a machine that is busy with other things. */
const MOST_SECONDS = 240 * (EMULATED ? PATIENCE : 1);
const asleep = EMULATED && !ASKED;

for (const { suite, parts } of asleep ? [] : await prepareQuick()) {
  const title = `${suite.title}: ${suite.quick.join(", ")}`;
  if (typeof parts === "string") {
    test.serial.skip(`${title} (${parts})`, () => undefined);
    continue;
  }
  test.serial(title, async (t) => {
    t.timeout(2 * MOST_SECONDS * 1000 * parts.length);
    const differences = differencesOf(suite.name);
    t.is(parts.length, suite.quick.length, "a part of the short form is not there");
    for (const part of parts) {
      const seconds = EMULATED ? MOST_SECONDS : Math.min(part.seconds, MOST_SECONDS);
      const { problems } = await judge({ ...part, seconds }, differences);
      t.deepEqual(problems, [], part.name);
    }
  });
}

if (asleep) test.skip("the short form of the suites (too slow on an emulated processor)", () => undefined);
