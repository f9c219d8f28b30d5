// SPDX-License-Identifier: Apache-2.0
// Not a test: the installer as it is, on the machine it runs on, with a package that has a runtime (no version has one
// yet). engines.test.ts runs it where /etc is a copy. Only the device and the payload are not asked for: neither is what
// is looked at. Arguments: folder of the package, prefix, ["back"]. Prints the events.
import { join } from "node:path";
import { sha256 } from "../../src/base/files.js";
import { detect, realDoors } from "../../src/installer/detect/detect.js";
import type { BundleFile, Wishes } from "../../src/installer/facts.js";
import { install, uninstall } from "../../src/installer/install.js";
import { RUNTIME } from "../../src/installer/plan/engines.js";
import { jsonReporter } from "../../src/installer/ui/plain.js";
import { RAN } from "./fixtures.js";

const [source = "", prefix = "", direction] = process.argv.slice(2);
const told = { report: jsonReporter((text) => process.stdout.write(text)), consent: async () => true };

async function looked(wishes: Wishes) {
  const path = join(source, "krun");
  const files: BundleFile[] = [{ source: path, target: RUNTIME, mode: 0o755, sha256: await sha256(path) }];
  const bundle = { version: "1.0.0", files, missing: [] };
  const prover = { guest: async () => undefined, payload: async () => undefined };
  const facts = await detect({ ...wishes, offline: true }, () => {}, {
    ...(await realDoors()),
    bundle,
    prover,
  });
  return {
    ...facts,
    devices: [{ path: "/dev/kvm", state: "works" as const, evidence: "not asked for here" }],
  };
}

if (direction === "back") await uninstall({ prefix, ...told });
else await install({ wishes: { prefix }, ...told, doors: { detect: looked, runHello: async () => RAN } });
