// SPDX-License-Identifier: Apache-2.0
import { type Check, kkmMatters, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-KERN-008",
  title: "the kernel's compiler",
  looks: "CONFIG_CC_VERSION_TEXT in the headers, and the compilers on PATH",
  fix: "install the compiler the kernel was built with",
  run: (context) => {
    const running = context.facts.build[0];
    if (!kkmMatters(context) || !running?.headers) return skip("nothing to build");
    if (!running.found)
      return warn(
        `no ${running.compiler ?? "compiler"}`,
        `install ${running.compiler?.replace(" ", "-") ?? "gcc"}`,
      );
    if (running.mismatch)
      return warn(
        `${running.found} is not ${running.compiler}`,
        `install ${running.compiler?.replace(" ", "-")}`,
      );
    return ok(running.found);
  },
};
