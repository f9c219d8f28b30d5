// SPDX-License-Identifier: Apache-2.0
import { exists } from "../../base/host.js";
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-ENG-002",
  title: "docker's configuration can be read",
  looks: "daemon.json of this kind of docker",
  fix: "mend the file at the place named: dockerd does not start with it either",
  run: async ({ facts, host }) => {
    const { docker } = facts.engines;
    if (!docker) return skip("no docker");
    if (docker.configProblem) return fail(docker.configProblem);
    const there = await exists(host, docker.config);
    return ok(there ? docker.config : `${docker.config} is not there: its defaults`);
  },
};
