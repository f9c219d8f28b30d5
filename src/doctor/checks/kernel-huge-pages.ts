// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-KERN-014",
  title: "huge pages on request",
  looks: "/sys/kernel/mm/transparent_hugepage/enabled is not never",
  fix: "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled: first touches of guest memory are slower without",
  run: async ({ host }) => {
    const text = await host.readFile("/sys/kernel/mm/transparent_hugepage/enabled");
    const mode = /\[(\w+)\]/.exec(text ?? "")?.[1];
    if (!mode) return skip("not built in");
    return mode === "never" ? warn("never") : ok(mode);
  },
};
