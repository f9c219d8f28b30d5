// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-KERN-006",
  title: "lockdown",
  looks: "/sys/kernel/security/lockdown",
  fix: "confidentiality mode hides what gdb and the doctor read: boot with lockdown=integrity",
  run: ({ facts }) => {
    const { lockdown } = facts.security;
    if (lockdown === "absent") return skip("not built in, or not to be seen");
    return lockdown === "confidentiality" ? warn(lockdown) : ok(lockdown);
  },
};
