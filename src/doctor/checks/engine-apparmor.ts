// SPDX-License-Identifier: Apache-2.0
import { type Check, numberIn, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-ENG-009",
  title: "AppArmor lets unprivileged users make namespaces",
  looks: "kernel.apparmor_restrict_unprivileged_userns, for rootless engines",
  fix: "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for the engine",
  run: async ({ host, facts }) => {
    if (!facts.security.apparmor) return skip("no AppArmor");
    const value = await numberIn(host, "/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
    return value === 1 && facts.user.uid !== 0
      ? warn("restricted")
      : ok(value === undefined ? "no restriction" : `${value}`);
  },
};
