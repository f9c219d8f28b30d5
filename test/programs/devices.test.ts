// SPDX-License-Identifier: Apache-2.0
// Which device km takes when none is named. The test moves device nodes about: only in the lab's guest, where both
// drivers are and where nobody else is.
import { existsSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import test from "ava";
import { DEVICES, EMULATED } from "../helpers/device.js";
import { KM } from "../helpers/paths.js";
import { here } from "../helpers/place.js";

const [KONTAIN, KVM, KKM] = DEVICES;
const away = (device: string) => `${device}.away`;

/** The driver a payload finds itself on, or km's complaint. */
async function found(...options: string[]): Promise<string> {
  const command = [KM, ...options, "/bin/uname", "-r"];
  const { status, stdout, stderr } = await here.run({ command, cwd: "/", seconds: 60 });
  return status === 0 ? (stdout.toString().trim().split(".").at(-1) ?? "") : stderr.trim();
}

function tidy(): void {
  rmSync(KONTAIN, { force: true });
  for (const device of [KVM, KKM]) {
    if (!existsSync(away(device))) continue;
    rmSync(device, { force: true });
    renameSync(away(device), device);
  }
}

if (!EMULATED || !existsSync(KVM) || !existsSync(KKM)) {
  const why = EMULATED ? "needs /dev/kvm and /dev/kkm" : "moves device nodes: the lab's guest only";
  test.skip(`the order in which devices are tried (${why})`, () => undefined);
} else {
  test.afterEach.always(tidy);

  test.serial("/dev/kontain goes before /dev/kvm, and that before /dev/kkm", async (t) => {
    t.timeout(600_000);
    t.is(await found(), "KVM");
    symlinkSync(KKM, KONTAIN);
    t.is(await found(), "KKM", "/dev/kontain is KKM");
    renameSync(KKM, away(KKM));
    rmSync(KONTAIN);
    symlinkSync(KVM, KONTAIN);
    t.is(await found(), "KVM", "/dev/kontain is KVM, and there is no KKM");
    rmSync(KONTAIN);
    t.is(await found(), "KVM");
    renameSync(away(KKM), KKM);
    renameSync(KVM, away(KVM));
    t.is(await found(), "KKM", "there is no KVM");
    renameSync(KKM, away(KKM));
    t.regex(await found(), /^km: [^\n]*none of \/dev\/kontain, \/dev\/kvm, \/dev\/kkm is there[^\n]*$/);
  });

  test.serial("a device that does not work is passed over; one that is named is not", async (t) => {
    t.timeout(600_000);
    renameSync(KVM, away(KVM));
    writeFileSync(KVM, "");
    t.is(await found(), "KKM");
    t.regex(await found(`--virt-device=${KVM}`), /^km: [^\n]*\/dev\/kvm[^\n]*$/);
    t.is(await found(`--virt-device=${away(KVM)}`), "KVM", "any name will do: the device says what it is");
  });
}
