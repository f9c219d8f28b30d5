// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-ENG-008",
  title: "SELinux lets containers reach the device",
  looks: "/sys/fs/selinux/enforce, where there is a container engine",
  fix: "setsebool -P container_use_devices on",
  run: ({ facts }) => {
    const { docker, podman, containerd } = facts.engines;
    if (!docker && !podman && !containerd) return skip("no container engine");
    return facts.security.selinux === "enforcing" ? warn("enforcing") : ok(facts.security.selinux);
  },
};
