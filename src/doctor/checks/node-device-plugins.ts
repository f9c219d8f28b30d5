// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-K8S-002",
  title: "the kubelet takes device plugins",
  looks: "/var/lib/kubelet/device-plugins",
  fix: "start the kubelet: it makes the folder; a kubelet with another --root-dir needs it given to the plugin",
  run: async ({ facts, host }) => {
    if (!facts.engines.kubelet) return skip("no kubelet");
    const names = await host.readDir("/var/lib/kubelet/device-plugins");
    return names ? ok(names.join(", ")) : fail("the folder is not there");
  },
};
