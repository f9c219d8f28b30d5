// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, skip, warn } from "../check.js";

const WANTED_MIB = 256;

export const check: Check = {
  id: "KKM-CPU-005",
  title: "free memory",
  looks: "MemAvailable in /proc/meminfo, 256 MiB or more",
  fix: "end something, or give the machine more memory",
  run: async ({ host }) => {
    const text = (await host.readFile("/proc/meminfo")) ?? "";
    const available = /^MemAvailable:\s+(\d+) kB/m.exec(text)?.[1];
    if (!available) return skip("/proc/meminfo does not say");
    const mib = Math.floor(Number(available) / 1024);
    return mib >= WANTED_MIB ? ok(`${mib} MiB`) : warn(`${mib} MiB`);
  },
};
