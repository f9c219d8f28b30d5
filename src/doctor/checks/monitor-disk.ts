// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, skip, warn } from "../check.js";

const WANTED = 64 << 20;

export const check: Check = {
  id: "KKM-MON-006",
  title: "room on the disk",
  looks: "free bytes in the prefix's file system, 64 MiB or more",
  fix: "make room: snapshots and the next version need some",
  run: ({ facts }) => {
    const { free } = facts.prefix;
    if (free === undefined) return skip("cannot be told");
    const mib = Math.floor(free / (1 << 20));
    return free >= WANTED ? ok(`${mib} MiB`) : warn(`${mib} MiB`);
  },
};
