// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-MON-004",
  title: "installation and toolkit are of one version",
  looks: "the journal's version against this package's",
  fix: "npx kontain-install",
  run: async ({ installed, facts }) => {
    if (!installed) return skip("nothing is installed");
    const mine = facts.bundle.version;
    const there = installed.version;
    if (there === mine) return ok(mine);
    const { gt, valid } = await import("semver");
    const older = valid(there) && valid(mine) && gt(there, mine);
    const fix = older ? `take the toolkit of ${there}: npx kontain-install@${there}` : undefined;
    return warn(`installed ${there}, this is ${mine}`, fix);
  },
};
