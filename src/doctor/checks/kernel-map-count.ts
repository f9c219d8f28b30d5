// SPDX-License-Identifier: Apache-2.0
import { type Check, numberIn, ok, skip, warn } from "../check.js";

const WANTED = 65530;

export const check: Check = {
  id: "KKM-KERN-013",
  title: "enough mappings per process",
  looks: "vm.max_map_count, 65530 or more",
  fix: "sysctl vm.max_map_count=65530",
  run: async ({ host }) => {
    const count = await numberIn(host, "/proc/sys/vm/max_map_count");
    if (count === undefined) return skip("cannot be read");
    return count >= WANTED ? ok(`${count}`) : warn(`${count}`);
  },
};
