// SPDX-License-Identifier: Apache-2.0
import { accessFix } from "../../installer/plan/access.js";
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-DEV-005",
  title: "this user may use a device",
  looks: "whether the devices that are there can be opened, and by whom they could be",
  fix: "add the user to the device's group, then log in again",
  run: ({ facts }) => {
    const { user } = facts;
    if (user.uid === 0) return ok("root");
    const there = facts.devices.filter(({ access }) => access);
    if (there.length === 0) return skip("there is no device");
    const [denied] = there.filter(({ state }) => state === "denied");
    if (!denied || there.some(({ state }) => state !== "denied")) return ok(user.name);
    return fail(`${user.name} may not open ${denied.path} (${denied.access})`, accessFix(denied, user));
  },
};
