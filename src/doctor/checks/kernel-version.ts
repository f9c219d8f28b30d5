// SPDX-License-Identifier: Apache-2.0
import { atLeast } from "../../installer/detect/kernel.js";
import { type Check, fail, ok, warn } from "../check.js";

export const check: Check = {
  id: "KKM-KERN-001",
  title: "a kernel that is new enough",
  looks: "uname -r: 4.15 for /dev/kvm, 5.10 for KKM",
  fix: "boot a kernel of 5.10 or newer",
  run: ({ facts }) => {
    const { kernel } = facts;
    if (!atLeast(kernel, 4, 15)) return fail(`${kernel.release} is older than 4.15`);
    return atLeast(kernel, 5, 10) ? ok(kernel.release) : warn(`${kernel.release}: KKM needs 5.10`);
  },
};
