// SPDX-License-Identifier: Apache-2.0
import { type Check, numberIn, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-KERN-012",
  title: "memory may be reserved before it is used",
  looks: "vm.overcommit_memory is not 2",
  fix: "sysctl vm.overcommit_memory=0: a machine reserves address space far beyond what it touches",
  run: async ({ host }) => {
    const mode = await numberIn(host, "/proc/sys/vm/overcommit_memory");
    if (mode === undefined) return skip("cannot be read");
    return mode === 2 ? warn("2 (never)") : ok(`${mode}`);
  },
};
