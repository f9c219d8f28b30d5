// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, kkmMatters, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-KERN-003",
  title: "a kernel with loadable modules",
  looks: "/proc/modules",
  fix: "boot a distribution's kernel",
  run: (context) => {
    if (context.facts.security.modules) return ok("it has them");
    return kkmMatters(context) ? fail("it has none") : skip("it has none, and needs none");
  },
};
