// SPDX-License-Identifier: Apache-2.0
import { needsSignature } from "../../installer/detect/security.js";
import { type Check, fail, kkmMatters, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-KERN-005",
  title: "a signature the kernel takes",
  looks: "Secure Boot, lockdown, module.sig_enforce, and the machine owner's key",
  fix: "make and enrol a machine owner key: mokutil --import CERTIFICATE, boot, confirm on the console; then kontain-install",
  run: (context) => {
    const { security } = context.facts;
    if (!needsSignature(security)) return ok("unsigned modules are taken");
    if (!kkmMatters(context)) return skip("only signed modules are taken, and none is needed");
    if (!security.key) return fail("only signed modules are taken, and there is no key");
    const { certificate, enrolled } = security.key;
    if (enrolled === false)
      return fail(`${certificate} is not enrolled`, `mokutil --import ${certificate}, boot, confirm`);
    return enrolled
      ? ok(`${certificate} is enrolled`)
      : warn(`whether ${certificate} is enrolled cannot be told (mokutil)`);
  },
};
