// SPDX-License-Identifier: Apache-2.0
import { type Check, kkmMatters, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-KERN-007",
  title: "kernel headers",
  looks: "/lib/modules/RELEASE/build of the running kernel",
  fix: "Debian, Ubuntu: apt-get install linux-headers-$(uname -r); Fedora, RHEL, Amazon: dnf install kernel-devel-$(uname -r)",
  run: (context) => {
    if (!kkmMatters(context)) return skip("KKM is not needed");
    const running = context.facts.build[0];
    return running?.headers ? ok(running.headers) : warn(`none for ${context.facts.kernel.release}`);
  },
};
