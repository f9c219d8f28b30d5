// SPDX-License-Identifier: Apache-2.0
// Not a test: the process that kill.test.ts kills. Installs (or, with "back", uninstalls) a package of three files with
// a monitor that always works. Arguments: folder of the package, prefix, ["back" or "wait"]. Prints a line when it
// begins; with "wait" it does so when its input ends, and prints how it ended.
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { sha256 } from "../../src/base/files.js";
import { detectPrefix } from "../../src/installer/detect/prefix.js";
import { install, uninstall } from "../../src/installer/install.js";
import type { InstallEvent } from "../../src/installer/ui/events.js";
import { host } from "./fixtures.js";

const [source = "", prefix = "", direction] = process.argv.slice(2);
const consent = async () => true;
const report = (event: InstallEvent) => {
  if (direction !== "wait") return;
  if (event.type === "problem") process.stdout.write(`${event.problem.id}\n`);
  if (event.type === "result") process.stdout.write(`${event.outcome}\n`);
};

const files = await Promise.all(
  ["bin/km", "tests/hello", "examples/deep/er"].map(async (target) => {
    const path = join(source, target.replaceAll("/", "-"));
    return { source: path, target, mode: 0o755, sha256: await sha256(path) };
  }),
);

if (direction === "wait") {
  process.stdout.write("ready\n");
  await buffer(process.stdin);
}
process.stdout.write("begin\n");
if (direction === "back") {
  await uninstall({ prefix, report, consent });
} else {
  const bundle = { version: "1.0.0", files, missing: [] };
  const detect = async () => host({ bundle, prefix: await detectPrefix(prefix, files) });
  const runHello = async () => ({ works: true, command: "", stdout: "", problem: "" });
  await install({ wishes: { prefix }, report, consent, doors: { detect, runHello } });
}
process.stdout.write("end\n");
