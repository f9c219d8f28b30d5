// SPDX-License-Identifier: Apache-2.0
import { ConfigError, parseTomlTable } from "../../base/config-text.js";
import { type Check, ok, skip, warn } from "../check.js";

export const check: Check = {
  id: "KKM-ENG-007",
  title: "containerd reads drop-ins",
  looks: "imports in /etc/containerd/config.toml",
  fix: 'imports = ["/etc/containerd/conf.d/*.toml"] as the second line of /etc/containerd/config.toml',
  run: ({ facts }) => {
    const { containerd } = facts.engines;
    // Before 2.0 a drop-in would replace whole sections of the main file: the installer writes none there.
    if (containerd?.version?.startsWith("1."))
      return skip(`containerd ${containerd.version} does not merge them`);
    const text = containerd ? facts.etc[containerd.config] : null;
    if (!containerd || !text) return skip(containerd ? "it has no configuration file" : "no containerd");
    try {
      const { imports } = parseTomlTable(text, containerd.config);
      return Array.isArray(imports) && imports.length > 0
        ? ok(imports.join(", "))
        : warn("it imports nothing");
    } catch (error) {
      if (error instanceof ConfigError) return skip(error.message);
      throw error;
    }
  },
};
