// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-ENG-001",
  title: "a docker that can run host programs",
  looks: "how docker was installed: package, snap, rootless, Desktop",
  fix: "install docker-ce from packages: a snap and Docker Desktop cannot start a runtime of the host",
  run: ({ facts }) => {
    const { docker } = facts.engines;
    if (!docker) return skip("no docker");
    const seen = `${docker.version ?? "docker"} (${docker.how})`;
    return docker.how === "snap" || docker.how === "desktop" ? warn(seen) : ok(seen);
  },
};
