// SPDX-License-Identifier: Apache-2.0
import { accessFix } from "../../installer/plan/access.js";
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-DEV-001",
  title: "/dev/kvm runs guests",
  looks: "opens it and runs a guest, then the hello payload",
  fix: "no permission: usermod -aG kvm USER; busy: stop the other hypervisor",
  run: ({ facts }) => {
    const device = facts.devices.find(({ path }) => path === "/dev/kvm");
    if (!device || device.state === "absent") return skip("there is none");
    const seen = `${device.evidence}${device.access ? `, ${device.access}` : ""}`;
    if (device.state === "works") return ok(seen);
    const fix = device.state === "denied" ? accessFix(device, facts.user) : undefined;
    return fail(`${device.state}: ${seen}`, fix);
  },
};
