// SPDX-License-Identifier: Apache-2.0
import { exists } from "../../base/host.js";
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-ENG-006",
  title: "containerd's configuration can be read",
  looks: "/etc/containerd/config.toml",
  fix: "mend the file at the place named: containerd does not start with it either",
  run: async ({ facts, host }) => {
    const { containerd } = facts.engines;
    if (!containerd) return skip("no containerd");
    if (containerd.configProblem) return fail(containerd.configProblem);
    const there = await exists(host, containerd.config);
    return ok(there ? containerd.config : `${containerd.config} is not there: its defaults`);
  },
};
