// SPDX-License-Identifier: Apache-2.0
// Which virtualization device a suite runs on, and what that device is let off.
import { existsSync, realpathSync } from "node:fs";
import { basename } from "node:path";
import { SKIPPED, type Suite } from "./skipped.js";

/** Given by the lab; else km takes the first there is. */
const WANTED = process.env.KONTAIN_TEST_DEVICE;

/** km's options for it. */
export const DEVICE_OPTIONS: readonly string[] = WANTED === undefined ? [] : [`--virt-device=${WANTED}`];

/** In the order km tries them. */
export const DEVICES = ["/dev/kontain", "/dev/kvm", "/dev/kkm"] as const;
const PRESENT = DEVICES.find((device) => existsSync(device));

/** The device the programs run on here. */
export const DEVICE = WANTED ?? PRESENT ?? "/dev/kvm";

export type DriverKind = "kvm" | "kkm";
const kind: DriverKind = existsSync(DEVICE) && basename(realpathSync(DEVICE)) === "kkm" ? "kkm" : "kvm";

/** Whether the processor is emulated: this is a guest of the lab. */
export const EMULATED = process.env.KONTAIN_LAB !== undefined;

/** Why `test` of `suite` is not run on `driver`; undefined when it is. */
export function skipReason(suite: Suite, test: string, driver: DriverKind = kind): string | undefined {
  const lets = SKIPPED.filter((entry) => entry.driver === driver && entry.suite === suite);
  return lets.find((entry) => entry.tests.includes(test))?.reason;
}
