// SPDX-License-Identifier: Apache-2.0
import { type Check, kkmMatters, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-MOD-005",
  title: "group kkm",
  looks: "/etc/group",
  fix: "groupadd -r kkm; usermod -aG kkm USER",
  run: (context) => {
    if (!kkmMatters(context) || context.facts.container) return skip("KKM is not needed");
    const { group } = context.facts.kkm;
    return group ? ok(group.length > 0 ? `members: ${group.length}` : "no members") : warn("there is none");
  },
};
