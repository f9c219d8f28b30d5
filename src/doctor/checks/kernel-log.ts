// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-KERN-011",
  title: "no complaint of the module in the kernel's log",
  looks: "dmesg: an Oops, BUG or WARNING that names kkm",
  fix: "please report it with the lines around it; programs of other users may be affected until the next boot",
  run: async ({ host, facts }) => {
    if (!facts.kkm.loaded) return skip("kkm is not loaded");
    const log = await host.run("dmesg");
    if (log?.status !== 0) return skip("the log may not be read");
    const line = log.stdout
      .split("\n")
      .find((row) => /(WARNING|BUG|Oops).*kkm|kkm.*(WARNING|BUG|Oops)/.test(row));
    return line ? fail(line.trim().slice(0, 160)) : ok("none");
  },
};
