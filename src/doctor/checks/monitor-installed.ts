// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok } from "../check.js";

export const check: Check = {
  id: "KKM-MON-001",
  title: "an installation",
  looks: "the journal in the prefix",
  fix: "npx kontain-install",
  run: ({ installed, prefix, facts }) => {
    const { trouble } = facts.prefix;
    if (trouble) return fail(trouble.evidence, trouble.fix);
    return installed ? ok(`${installed.version} in ${prefix}`) : fail(`none in ${prefix}`);
  },
};
