// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-ENG-006",
  title: "containerd's configuration can be read",
  looks: "/etc/containerd/config.toml",
  fix: "mend the file at the place named: containerd does not start with it either",
  run: ({ facts }) => {
    const { containerd } = facts.engines;
    if (!containerd) return skip("no containerd");
    return containerd.configProblem ? fail(containerd.configProblem) : ok(containerd.config);
  },
};
