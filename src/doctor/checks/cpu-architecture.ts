// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok } from "../check.js";

export const check: Check = {
  id: "KKM-CPU-001",
  title: "a 64-bit x86 processor and Linux",
  looks: "platform and architecture of this process",
  fix: "use an x86-64 Linux machine",
  run: ({ facts }) => {
    const seen = `${facts.platform} on ${facts.arch}`;
    return facts.platform === "linux" && facts.arch === "x64" ? ok(seen) : fail(seen);
  },
};
