// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, warn } from "../check.js";

export const check: Check = {
  id: "KKM-CPU-002",
  title: "hardware virtualization",
  looks: "vmx or svm among the flags of /proc/cpuinfo; a device that works counts more",
  fix: "switch it on in the firmware or the hypervisor, or let kontain-install build KKM, which does without",
  run: ({ facts }) => {
    const { virtualization, model } = facts.cpu;
    if (virtualization !== "none") return ok(`${virtualization}, ${model}`);
    const works = facts.devices.find(({ state }) => state === "works");
    if (works) return ok(`no flag, but a guest ran on ${works.path}`);
    return warn(`neither vmx nor svm: ${model}`);
  },
};
