// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-K8S-003",
  title: "a node whose engine can have runtimes added",
  looks: "containerd or CRI-O beside the kubelet",
  fix: "install containerd",
  run: async ({ facts, host }) => {
    if (!facts.engines.kubelet) return skip("no kubelet");
    if (facts.engines.containerd) return ok(`containerd ${facts.engines.containerd.version ?? ""}`.trim());
    return (await host.which("crio")) ? ok("CRI-O") : fail("neither containerd nor CRI-O");
  },
};
