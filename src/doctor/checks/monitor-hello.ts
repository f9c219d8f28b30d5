// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { HELLO, MONITOR } from "../../installer/bundle.js";
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-MON-002",
  title: "the installed monitor runs a program",
  looks: "the hello payload on the first device that works, from the prefix",
  fix: "npx kontain-install",
  run: async ({ facts, installed, prefix, runHello }) => {
    if (!installed) return skip("nothing is installed");
    const device = facts.devices.find(({ state }) => state === "works");
    if (!device) return skip("no device works");
    const run = await runHello(join(prefix, MONITOR), join(prefix, HELLO), device.path);
    return run.works ? ok(run.command) : fail(run.problem);
  },
};
