// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-DEV-005",
  title: "this user may use a device",
  looks: "groups of this process against the devices' groups",
  fix: "add the user to the device's group, then log in again",
  run: ({ facts }) => {
    const { user } = facts;
    if (user.uid === 0) return ok("root");
    const there = facts.devices.filter(({ access }) => access);
    if (there.length === 0) return skip("there is no device");
    if (there.some(({ state }) => state !== "denied")) return ok(user.name);
    const group = there[0]?.access?.split(":")[1] ?? "kvm";
    return fail(
      `${user.name} is not in ${group}`,
      `sudo usermod -aG ${group} ${user.name}, then log in again`,
    );
  },
};
