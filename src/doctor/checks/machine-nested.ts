// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-HYP-002",
  title: "nested virtualization",
  looks: "the table of clouds and hypervisors, for machines without a /dev/kvm that works",
  fix: "switch nested virtualization on, or let kontain-install build KKM",
  run: ({ facts }) => {
    const { nested } = facts.machine;
    if (facts.devices.some(({ path, state }) => path === "/dev/kvm" && state === "works"))
      return ok("/dev/kvm works");
    if (facts.cpu.virtualization !== "none") return ok(`the processor shows ${facts.cpu.virtualization}`);
    if (nested.offer === "switch") return warn("off, and it can be switched on", nested.how);
    return skip(`${nested.offer}: ${nested.how}`);
  },
};
