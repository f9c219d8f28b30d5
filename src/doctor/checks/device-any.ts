// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok } from "../check.js";

export const check: Check = {
  id: "KKM-DEV-003",
  title: "a device to run on",
  looks: "/dev/kontain, /dev/kvm, /dev/kkm",
  fix: "kontain-install says what this machine can have",
  run: ({ facts }) => {
    const works = facts.devices.find(({ state }) => state === "works");
    if (works) return ok(works.path);
    return fail(facts.devices.map(({ path, state }) => `${path}: ${state}`).join(", "));
  },
};
