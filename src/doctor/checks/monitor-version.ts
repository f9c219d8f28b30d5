// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-MON-004",
  title: "installation and toolkit are of one version",
  looks: "the journal's version against this package's",
  fix: "npx kontain-install",
  run: ({ installed, facts }) => {
    if (!installed) return skip("nothing is installed");
    const mine = facts.bundle.version;
    return installed.version === mine ? ok(mine) : warn(`installed ${installed.version}, this is ${mine}`);
  },
};
