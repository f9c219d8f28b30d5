// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-K8S-004",
  title: "pods can be given a device",
  looks: "a device that works on this node",
  fix: "kontain-install on the node (or in its image)",
  run: ({ facts }) => {
    if (!facts.engines.kubelet) return skip("no kubelet");
    const works = facts.devices.find(({ state }) => state === "works");
    return works ? ok(works.path) : fail("none works");
  },
};
