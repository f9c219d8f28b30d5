// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, warn } from "../check.js";

export const check: Check = {
  id: "KKM-KERN-010",
  title: "control groups version 2",
  looks: "/proc/mounts",
  fix: "boot with systemd.unified_cgroup_hierarchy=1: limits of single programs need version 2",
  run: ({ facts }) =>
    facts.cgroup === "v2" ? ok("v2") : facts.cgroup === "hybrid" ? ok("v1 and v2") : warn(facts.cgroup),
};
