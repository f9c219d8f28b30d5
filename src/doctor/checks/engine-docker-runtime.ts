// SPDX-License-Identifier: Apache-2.0
import { ConfigError } from "../../base/config-text.js";
import { RUNTIME } from "../../installer/plan/engines.js";
import { dockerRuntime } from "../../installer/plan/merge.js";
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-ENG-004",
  title: "docker knows the runtime",
  looks: "krun among the runtimes of daemon.json",
  fix: "npx kontain-install as root, then: systemctl reload docker",
  run: ({ facts }) => {
    const { docker } = facts.engines;
    if (!docker) return skip("no docker");
    if (!facts.bundle.files.some(({ target }) => target === RUNTIME))
      return skip("this version has no runtime yet");
    try {
      const path = dockerRuntime(facts.etc[docker.config] ?? "", docker.config, "krun");
      return path ? ok(path) : warn("it does not");
    } catch (error) {
      if (error instanceof ConfigError) return skip(error.message);
      throw error;
    }
  },
};
