// SPDX-License-Identifier: Apache-2.0
// busybox's own tests, out of Debian's source package, on Debian's static busybox. The shell that runs them is busybox
// as well, so under km every process of the run is.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { find } from "../helpers/commands.js";
import { busyboxTests } from "./parsers.js";
import { sourceOf } from "./sources.js";
import type { Part, Suite } from "./suite.js";

/** Text tools: nothing but files, pipes and processes. */
const TEXT = ["cut", "grep", "sed", "sort", "tr", "xargs"];

/** Thousands of processes of a few milliseconds each. */
const SUMS = ["md5sum", "sha1sum", "sha256sum", "sha3sum", "sha512sum"];

const EXCLUDED = [
  {
    name: "bc",
    reason: "writes half a million words one by one: the better part of an hour where an exit costs 100 us",
  },
  { name: "mount", reason: "mounts on the machine that runs the tests" },
  { name: "mdev", reason: "makes device nodes" },
  { name: "makedevs", reason: "makes device nodes" },
  { name: "wget", reason: "needs a web server out there" },
];

function part(name: string, applets: readonly string[], binary: string, folder: string): Part {
  const script = [
    `cp -r ${join(folder, "upstream/testsuite")} tests`,
    "mkdir bin",
    `cp ${binary} bin/busybox`,
    `cp ${join(folder, "debian/config/pkg/static")} bin/.config`,
    'export bindir="$PWD/bin"',
    "cd tests",
    `../bin/busybox sh ./runtest ${applets.join(" ")}`,
  ].join("\n");
  return {
    name,
    command: [binary, "sh", "-c", script],
    env: { SKIP_KNOWN_BUGS: "1" },
    seconds: 3600,
    verdicts: busyboxTests,
  };
}

export const BUSYBOX: Suite = {
  name: "busybox",
  title: "busybox's testsuite",
  quick: [], // its set-up alone makes 300 links, a process each
  excluded: EXCLUDED,
  prepare: async () => {
    const binary = find("busybox");
    if (binary === undefined) return "apt-get install busybox-static";
    const source = await sourceOf("busybox");
    if (typeof source === "string") return source;
    const folder = join(source.folder, "upstream/testsuite");
    const config = join(source.folder, "debian/config/pkg/static");
    if (!existsSync(config)) return `${config} is not there: this is not Debian's busybox`;
    const out = new Set(EXCLUDED.map((entry) => entry.name));
    const tested = readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() || entry.name.endsWith(".tests"))
      .map((entry) => entry.name.replace(/\.tests$/, ""))
      .filter((name) => !out.has(name) && !name.startsWith("all_"));
    const others = [...new Set(tested)].filter((name) => ![...TEXT, ...SUMS].includes(name));
    const groups = { "text tools": TEXT, checksums: SUMS, "the others": others };
    return Object.entries(groups).map(([name, applets]) => part(name, applets, binary, source.folder));
  },
};
