// SPDX-License-Identifier: Apache-2.0
import { delimiter, join } from "node:path";
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-MON-005",
  title: "km is a word",
  looks: "the prefix's bin in PATH",
  fix: "export PATH=PREFIX/bin:$PATH, in ~/.profile for good",
  run: ({ installed, prefix, env }) => {
    if (!installed) return skip("nothing is installed");
    const bin = join(prefix, "bin");
    return (env.PATH ?? "").split(delimiter).includes(bin)
      ? ok(bin)
      : warn(`${bin} is not in PATH`, `export PATH=${bin}:$PATH`);
  },
};
