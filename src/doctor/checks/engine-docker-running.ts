// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-ENG-003",
  title: "docker is running",
  looks: "its socket",
  fix: "systemctl start docker",
  run: ({ facts }) => {
    const { docker } = facts.engines;
    if (!docker) return skip("no docker");
    return docker.running ? ok("its socket is there") : warn("its socket is not there");
  },
};
