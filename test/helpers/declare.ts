// SPDX-License-Identifier: Apache-2.0
// Cases as AVA tests of this machine; what cannot run here is skipped with the reason in its title.
import test from "ava";
import { find } from "./commands.js";
import { type Case, compare } from "./compare.js";
import { EMULATED, skipReason } from "./device.js";
import { buildPayloads } from "./payloads.js";
import { here } from "./place.js";

/** Why a case cannot run where its commands are looked up; undefined when it can. */
export function unavailable(kase: Case, inGuest: boolean): string | undefined {
  if (inGuest && kase.notInGuest !== undefined) return kase.notInGuest;
  const missing = (kase.needs ?? []).filter((command) => find(command) === undefined);
  return missing.length > 0 ? `not installed: ${missing.join(", ")}` : undefined;
}

export function declare(cases: readonly Case[]): void {
  test.before(async (t) => {
    t.timeout(600_000);
    const complaint = await buildPayloads();
    if (complaint) t.log(complaint);
  });
  for (const kase of cases) {
    const why = skipReason("programs", kase.name) ?? unavailable(kase, EMULATED);
    if (why !== undefined) {
      test.serial.skip(`${kase.name} (${why})`, () => undefined);
      continue;
    }
    test.serial(kase.name, async (t) => {
      t.timeout(1_500_000);
      await compare(t, here, kase);
    });
  }
}
