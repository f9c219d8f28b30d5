// SPDX-License-Identifier: Apache-2.0
// An installation of a few files, with a monitor that always works: what kill.test.ts and the processes it kills do.
import { join } from "node:path";
import { sha256 } from "../../src/base/files.js";
import type { Checkpoint } from "../../src/installer/apply/journal.js";
import { detectPrefix } from "../../src/installer/detect/prefix.js";
import { install, uninstall } from "../../src/installer/install.js";
import type { Outcome, Reporter } from "../../src/installer/ui/events.js";
import { host, RAN } from "./fixtures.js";

export interface Small {
  /** Folder of the package. */
  source: string;
  prefix: string;
  /** Where its files go; default: three, some in folders in folders. */
  targets?: string[];
  report?: Reporter;
  checkpoint?: Checkpoint;
}

const consent = async () => true;

const TARGETS = ["bin/km", "tests/hello", "examples/deep/er"];

export async function installSmall(small: Small): Promise<Outcome> {
  const { source, prefix, targets = TARGETS, report = () => {}, checkpoint } = small;
  const files = await Promise.all(
    targets.map(async (target) => {
      const path = join(source, target.replaceAll("/", "-"));
      return { source: path, target, mode: 0o755, sha256: await sha256(path) };
    }),
  );
  const bundle = { version: "1.0.0", files, missing: [] };
  const detect = async () => host({ bundle, prefix: await detectPrefix(prefix, files) });
  const doors = { detect, runHello: async () => RAN, ...(checkpoint ? { checkpoint } : {}) };
  return install({ wishes: { prefix }, report, consent, doors });
}

export function uninstallSmall({ prefix, report = () => {}, checkpoint }: Small): Promise<Outcome> {
  return uninstall({ prefix, report, consent, ...(checkpoint ? { checkpoint } : {}) });
}
