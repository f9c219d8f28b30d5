// SPDX-License-Identifier: Apache-2.0
import { UDEV_RULE } from "../../installer/etc.js";
import { type Check, fail, kkmMatters, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-MOD-004",
  title: "a udev rule gives the device to its group",
  looks: "60-kkm.rules in /etc/udev/rules.d or /usr/lib/udev/rules.d",
  fix: "kontain-install --device kkm",
  run: async (context) => {
    if (!kkmMatters(context) || context.facts.container) return skip("KKM is not needed");
    const text =
      context.facts.etc[UDEV_RULE] ?? (await context.host.readFile("/usr/lib/udev/rules.d/60-kkm.rules"));
    if (!text) return warn("none: the device is root's after the next boot");
    if (/MODE="0?666"/.test(text))
      return fail("the rule opens the device to everybody", 'MODE="0660", GROUP="kkm"');
    return ok("there");
  },
};
