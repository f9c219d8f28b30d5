// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, warn } from "../check.js";

export const check: Check = {
  id: "KKM-HYP-001",
  title: "what this machine is",
  looks: "systemd-detect-virt, /sys/hypervisor, CPUID by lscpu, DMI strings",
  fix: "nothing has to be done; advice about nested virtualization cannot be given here",
  run: ({ facts }) => {
    const { hypervisor, cloud, product } = facts.machine;
    if (hypervisor === "unknown") return warn("a virtual machine of an unknown hypervisor");
    const where = cloud ? `${cloud.name} ${cloud.instanceType ?? ""}`.trim() : product;
    return ok(`${hypervisor === "none" ? "bare metal" : hypervisor}${where ? ` (${where})` : ""}`);
  },
};
