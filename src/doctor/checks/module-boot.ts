// SPDX-License-Identifier: Apache-2.0
import { MODULES_LOAD } from "../../installer/etc.js";
import { type Check, kkmMatters, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-MOD-003",
  title: "the module is loaded at boot",
  looks: "/etc/modules-load.d/kkm.conf",
  fix: "echo kkm >/etc/modules-load.d/kkm.conf",
  run: (context) => {
    if (!kkmMatters(context) || context.facts.container) return skip("KKM is not needed");
    const text = context.facts.etc[MODULES_LOAD];
    return /^kkm$/m.test(text ?? "") ? ok(MODULES_LOAD) : warn(`${MODULES_LOAD} does not name it`);
  },
};
