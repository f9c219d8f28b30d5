// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, kkmMatters, ok, warn } from "../check.js";

export const check: Check = {
  id: "KKM-KERN-004",
  title: "module loading not switched off",
  looks: "kernel.modules_disabled",
  fix: "remove the setting from /etc/sysctl.d and boot again",
  run: (context) => {
    if (!context.facts.security.modulesDisabled) return ok("0");
    return kkmMatters(context) && !context.facts.kkm.loaded
      ? fail("1")
      : warn("1: what is not loaded now will not be");
  },
};
