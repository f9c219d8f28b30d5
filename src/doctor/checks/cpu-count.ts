// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, warn } from "../check.js";

export const check: Check = {
  id: "KKM-CPU-003",
  title: "two processors or more",
  looks: "processors in /proc/cpuinfo",
  fix: "give the machine a second processor: monitor, guest and everything else share one now",
  run: async ({ host }) => {
    const count = ((await host.readFile("/proc/cpuinfo")) ?? "").match(/^processor\s*:/gm)?.length ?? 0;
    return count >= 2 ? ok(`${count}`) : warn(`${count}`);
  },
};
