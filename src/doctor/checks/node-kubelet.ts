// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-K8S-001",
  title: "a Kubernetes node",
  looks: "kubelet on PATH, or /var/lib/kubelet",
  fix: "nothing has to be done",
  run: async ({ facts, host }) => {
    if (!facts.engines.kubelet) return skip("no kubelet");
    const version = (await host.run("kubelet", "--version"))?.stdout.trim();
    return version
      ? ok(version)
      : warn("its configuration is there, and no kubelet", "install the kubelet, or remove /var/lib/kubelet");
  },
};
