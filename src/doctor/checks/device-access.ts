// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, warn } from "../check.js";

export const check: Check = {
  id: "KKM-DEV-004",
  title: "devices are not everybody's",
  looks: "permission bits of the devices",
  fix: 'a udev rule with MODE="0660" and a group; chmod 0660 now',
  run: ({ facts }) => {
    const open = facts.devices.filter(({ access }) => /^0?\d\d[67] /.test(access ?? ""));
    if (open.length === 0) return ok("none is open to all users");
    return warn(open.map(({ path, access }) => `${path} is ${access}`).join(", "));
  },
};
