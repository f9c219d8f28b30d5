// SPDX-License-Identifier: Apache-2.0
// Every program and payload of table.ts on this machine.
import test from "ava";
import { find } from "../helpers/commands.js";
import { type Case, compare } from "../helpers/compare.js";
import { buildPayloads } from "../helpers/payloads.js";
import { here } from "../helpers/place.js";
import { FEATURES, PROGRAMS } from "./table.js";

test.before(async (t) => {
  t.timeout(600_000);
  const complaint = await buildPayloads();
  if (complaint) t.log(complaint);
});

function declare(kase: Case): void {
  const missing = (kase.needs ?? []).filter((command) => find(command) === undefined);
  if (missing.length > 0) {
    test.serial.skip(`${kase.name} (not installed: ${missing.join(", ")})`, () => undefined);
    return;
  }
  test.serial(kase.name, async (t) => {
    t.timeout(900_000);
    await compare(t, here, kase);
  });
}

for (const kase of [...PROGRAMS, ...FEATURES]) declare(kase);
