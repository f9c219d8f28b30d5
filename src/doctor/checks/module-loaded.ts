// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, kkmMatters, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-MOD-001",
  title: "the module is loaded",
  looks: "kkm in /proc/modules, where KKM is installed or nothing else works",
  fix: "modprobe kkm; where it is not built yet: kontain-install --device kkm",
  run: (context) => {
    if (context.facts.kkm.loaded) return ok("loaded");
    if (!kkmMatters(context)) return skip("KKM is not needed");
    const built = context.facts.build[0]?.module !== "absent";
    return built
      ? fail("built, but not loaded", "modprobe kkm")
      : fail("not built", "kontain-install --device kkm");
  },
};
