// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-MON-003",
  title: "installed files are as they were installed",
  looks: "SHA-256 of each file against the journal",
  fix: "npx kontain-install puts them right",
  run: async ({ installed, fingerprint }) => {
    if (!installed) return skip("nothing is installed");
    const differ: string[] = [];
    for (const { path, sha256 } of installed.files)
      if ((await fingerprint(path)) !== sha256) differ.push(path);
    if (differ.length === 0) return ok(`${installed.files.length} files`);
    return fail(`${differ.length} differ: ${differ.slice(0, 3).join(", ")}`);
  },
};
