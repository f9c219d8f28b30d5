// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-ENG-002",
  title: "docker's configuration can be read",
  looks: "daemon.json of this kind of docker",
  fix: "mend the file at the place named: dockerd does not start with it either",
  run: ({ facts }) => {
    const { docker } = facts.engines;
    if (!docker) return skip("no docker");
    return docker.configProblem ? fail(docker.configProblem) : ok(docker.config);
  },
};
