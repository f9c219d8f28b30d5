// SPDX-License-Identifier: Apache-2.0
import { KERNEL_HOOKS } from "../../installer/etc.js";
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-MOD-006",
  title: "new kernels get their module",
  looks: "our hook in /etc/kernel, or DKMS",
  fix: "kontain-install --device kkm; where kernel packages run no hooks: PREFIX/kkm/rebuild.sh RELEASE after each upgrade",
  run: ({ facts }) => {
    if (facts.build[0]?.module === "absent") return skip("KKM is not installed");
    const hooks = [...KERNEL_HOOKS.debian, ...KERNEL_HOOKS.fedora].filter((path) => facts.etc[path]);
    const { dkms, registered } = facts.kkm;
    if (dkms && registered.length > 0) return ok(`DKMS has kkm ${registered.join(", ")}`);
    return hooks.length > 0 ? ok(hooks.join(", ")) : warn("no hook, and DKMS does not know it");
  },
};
