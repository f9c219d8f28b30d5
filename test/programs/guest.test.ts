// SPDX-License-Identifier: Apache-2.0
// The same programs inside the lab's guest, where /dev/kvm is nested SVM: `syscall` enters CPL 0 there, as on
// hardware. The processor is emulated: the feature payloads join only with KONTAIN_TEST_GUEST=all, and everything is left
// out with KONTAIN_TEST_GUEST=no. A guest that cannot be had is skipped with the reason.
import test from "ava";
import { compare } from "../helpers/compare.js";
import { unavailable } from "../helpers/declare.js";
import { type GuestPlace, openGuestPlace } from "../helpers/guest.js";
import { buildPayloads } from "../helpers/payloads.js";
import { FEATURES, PROGRAMS } from "./table.js";

async function open(): Promise<GuestPlace | string> {
  if (process.env.KONTAIN_LAB) return "this is the guest";
  if (process.env.KONTAIN_TEST_GUEST === "no") return "KONTAIN_TEST_GUEST=no";
  try {
    return await openGuestPlace();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

await buildPayloads();
const guest = await open();

if (typeof guest === "string") {
  test.skip(`programs in the lab's guest (${guest})`, () => undefined);
} else {
  test.after.always(() => guest.close());
  const features = process.env.KONTAIN_TEST_GUEST === "all" ? FEATURES : [];
  for (const kase of [...PROGRAMS, ...features]) {
    const why = unavailable(kase, true);
    if (why !== undefined) {
      test.serial.skip(`${kase.name} (${why})`, () => undefined);
      continue;
    }
    test.serial(`${kase.name}, in the guest`, async (t) => {
      t.timeout(1_500_000);
      await compare(t, guest, kase);
    });
  }
}
