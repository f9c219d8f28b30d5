// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, skip, warn } from "../check.js";

/** Reads drop-ins of containers.conf. */
const OLDEST = "3.4.0";

export const check: Check = {
  id: "KKM-ENG-005",
  title: "a podman that is new enough",
  looks: "podman --version, 3.4 or newer",
  fix: "install a newer podman: older ones do not read drop-ins of containers.conf",
  run: async ({ facts }) => {
    const { podman } = facts.engines;
    if (!podman) return skip("no podman");
    const { coerce, gte } = await import("semver");
    const version = coerce(podman.version ?? "");
    if (!version) return warn("its version cannot be told");
    return gte(version, OLDEST) ? ok(version.version) : warn(version.version);
  },
};
