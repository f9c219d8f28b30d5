// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok } from "../check.js";

export const check: Check = {
  id: "KKM-KERN-015",
  title: "seccomp",
  looks: "trap among /proc/sys/kernel/seccomp/actions_avail",
  fix: "boot a kernel with CONFIG_SECCOMP_FILTER: monitor and KKM guests are confined by it",
  run: async ({ host }) => {
    const actions = (await host.readFile("/proc/sys/kernel/seccomp/actions_avail"))?.trim();
    if (actions === undefined) return fail("the kernel has none");
    return actions.split(" ").includes("trap") ? ok(actions) : fail(`without trap: ${actions}`);
  },
};
