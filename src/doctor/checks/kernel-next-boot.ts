// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-KERN-002",
  title: "the next boot has a module too",
  looks: "kkm.ko of the newest kernel in /boot, where KKM is installed",
  fix: "install the headers of that kernel, then run kontain-install again",
  run: (context) => {
    const [running, newest] = context.facts.build;
    if (!running || running.module === "absent") return skip("KKM is not installed");
    if (!newest) return ok(`${running.release} is the newest`);
    if (newest.module === "current") return ok(`${newest.release} has one`);
    return fail(
      `${newest.release}, which the next boot takes, has ${newest.module === "absent" ? "none" : "an old one"}`,
    );
  },
};
