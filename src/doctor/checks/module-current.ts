// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-MOD-002",
  title: "the module is of this version",
  looks: "what kkm.ko of the running kernel was built from",
  fix: "kontain-install --device kkm",
  run: ({ facts }) => {
    const running = facts.build[0];
    if (!running || running.module === "absent") return skip("KKM is not installed");
    return running.module === "current"
      ? ok("built from the sources of this version")
      : warn("built from other sources");
  },
};
