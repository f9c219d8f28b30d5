// SPDX-License-Identifier: Apache-2.0
// The short form of the suites: a few parts of each, for npm test and for the guests of the lab.
import type { Part, Suite } from "./suite.js";
import { SUITES } from "./table.js";

export interface Quick {
  readonly suite: Suite;
  /** Its parts, or in one line why there are none. */
  readonly parts: readonly Part[] | string;
}

/** Fetches and builds what the short form needs. */
export async function prepareQuick(): Promise<Quick[]> {
  const short = SUITES.filter((suite) => suite.quick.length > 0);
  return Promise.all(
    short.map(async (suite) => {
      const prepared = await suite.prepare(suite.quick);
      if (typeof prepared === "string") return { suite, parts: prepared };
      return { suite, parts: prepared.filter((part) => suite.quick.includes(part.name)) };
    }),
  );
}
