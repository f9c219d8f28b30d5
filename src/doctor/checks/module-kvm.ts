// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-MOD-007",
  title: "KVM's module is loaded",
  looks: "kvm_intel or kvm_amd in /proc/modules, where the processor has virtualization",
  fix: "modprobe kvm_intel (or kvm_amd); if that fails, switch VT-x or SVM on in the firmware",
  run: async ({ host, facts }) => {
    if (facts.cpu.virtualization === "none") return skip("the processor has no virtualization");
    if (facts.devices.some(({ path, state }) => path === "/dev/kvm" && state !== "absent"))
      return ok("/dev/kvm is there");
    const module = facts.cpu.virtualization === "vmx" ? "kvm_intel" : "kvm_amd";
    const loaded = new RegExp(`^${module} `, "m").test((await host.readFile("/proc/modules")) ?? "");
    return loaded
      ? fail(`${module} is loaded, and there is no /dev/kvm`)
      : fail(`${module} is not loaded`, `modprobe ${module}`);
  },
};
