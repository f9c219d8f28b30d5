// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { ConfigError } from "../../base/config-text.js";
import { NAMES, RUNTIME } from "../../installer/plan/engines.js";
import { dockerRuntime } from "../../installer/plan/merge.js";
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-ENG-004",
  title: "docker knows the runtime",
  looks: "krun (or kontain) among the runtimes of daemon.json, and that it is the one of this installation",
  fix: "npx kontain-install as root, then: systemctl reload docker",
  run: async ({ facts, host, prefix }) => {
    const { docker } = facts.engines;
    if (!docker) return skip("no docker");
    if (!facts.bundle.files.some(({ target }) => target === RUNTIME))
      return skip("this version has no runtime yet");
    try {
      const text = (await host.readFile(docker.config)) ?? "";
      const pathOf = (name: string) => dockerRuntime(text, docker.config, name);
      const ours = NAMES.find((name) => pathOf(name) === join(prefix, RUNTIME));
      if (ours) return ok(`${ours}: ${pathOf(ours)}`);
      const others = NAMES.filter((name) => pathOf(name)).map((name) => `${name} is ${pathOf(name)}`);
      return warn(["it does not", ...others].join("; "));
    } catch (error) {
      if (error instanceof ConfigError) return skip(error.message);
      throw error;
    }
  },
};
