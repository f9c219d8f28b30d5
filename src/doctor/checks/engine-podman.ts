// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-ENG-005",
  title: "a podman that is new enough",
  looks: "podman --version, 3.4 or newer",
  fix: "install a newer podman: older ones do not read drop-ins of containers.conf",
  run: ({ facts }) => {
    const { podman } = facts.engines;
    if (!podman) return skip("no podman");
    const [major = 0, minor = 0] = (podman.version ?? "").split(".").map(Number);
    return major > 3 || (major === 3 && minor >= 4)
      ? ok(podman.version ?? "")
      : warn(podman.version ?? "version unknown");
  },
};
