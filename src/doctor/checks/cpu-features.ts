// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok } from "../check.js";

const NEEDED = ["fxsr", "sse2", "xsave"];

export const check: Check = {
  id: "KKM-CPU-004",
  title: "the instructions the monitor needs",
  looks: "fxsr, sse2 and xsave among the flags of /proc/cpuinfo",
  fix: "give the virtual machine another CPU model (host-passthrough, or x86-64-v2 with xsave)",
  run: async ({ host }) => {
    const flags =
      /^flags\s*: (.*)$/m.exec((await host.readFile("/proc/cpuinfo")) ?? "")?.[1]?.split(" ") ?? [];
    const missing = NEEDED.filter((flag) => !flags.includes(flag));
    return missing.length === 0 ? ok(NEEDED.join(", ")) : fail(`missing: ${missing.join(", ")}`);
  },
};
