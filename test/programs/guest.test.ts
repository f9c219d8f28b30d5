// SPDX-License-Identifier: Apache-2.0
// The same programs inside the lab's guest, where /dev/kvm is nested SVM: `syscall` enters CPL 0 there, as on
// hardware. A few of them run on /dev/kkm as well, and the driver's own tests of exits do; all of it on both devices
// is `npm run lab -- --suite machine,programs,features,programs-svm,features-svm`. The processor is emulated: the
// feature payloads join only with KONTAIN_TEST_GUEST=all, and everything is left out with KONTAIN_TEST_GUEST=no. A
// guest, or a module, that cannot be had is skipped with the reason.
import { join } from "node:path";
import test from "ava";
import { compare } from "../helpers/compare.js";
import { unavailable } from "../helpers/declare.js";
import { type GuestPlace, openGuestPlace } from "../helpers/guest.js";
import { ROOT } from "../helpers/paths.js";
import { buildPayloads } from "../helpers/payloads.js";
import { FEATURES, PROGRAMS } from "./table.js";

/** What shows quickly that /dev/kkm runs programs: link types, a C++ runtime, processes and pipes, threads. */
const ON_KKM = [
  "C hello, static-glibc",
  "C hello, dynamic-musl",
  "C++ exceptions and thread_local, dynamic",
  "busybox sh",
  "Go without cgo: goroutines, collector, faults",
];

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
  onKkm(guest);
}

function onKkm(place: GuestPlace): void {
  if (place.noKkm !== undefined) {
    test.serial.skip(`KKM in the lab's guest (${place.noKkm})`, () => undefined);
    return;
  }
  for (const kase of PROGRAMS.filter(({ name }) => ON_KKM.includes(name))) {
    if (unavailable(kase, true) !== undefined) continue; // said above
    test.serial(`${kase.name}, on /dev/kkm in the guest`, async (t) => {
      t.timeout(1_500_000);
      await compare(t, place, kase, ["--virt-device=/dev/kkm"]);
    });
  }
  test.serial("every exit of a machine on /dev/kkm in the guest", async (t) => {
    t.timeout(1_500_000);
    const ava = [process.execPath, join(ROOT, "node_modules/ava/entrypoints/cli.mjs"), "--timeout=20m"];
    const command = [...ava, "--match=/dev/kkm: *", "test/machine/exits.test.ts"];
    const env = Object.fromEntries(
      ["KONTAIN_BUILD_DIR"].flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])),
    );
    const done = await place.run({ command, cwd: ROOT, env: { ...env, KONTAIN_LAB: "1" }, seconds: 200 });
    t.is(done.status, 0, done.stdout.toString().slice(-4000));
    t.regex(done.stdout.toString(), /\d\d tests passed/);
  });
}
