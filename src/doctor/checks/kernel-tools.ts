// SPDX-License-Identifier: Apache-2.0
import { type Check, kkmMatters, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-KERN-009",
  title: "tools to build with",
  looks: "make, ld and objdump",
  fix: "install make and binutils",
  run: (context) => {
    if (!kkmMatters(context)) return skip("KKM is not needed");
    const { missingTools } = context.facts;
    return missingTools.length === 0 ? ok("make, ld, objdump") : warn(`missing: ${missingTools.join(", ")}`);
  },
};
