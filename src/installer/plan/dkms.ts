// SPDX-License-Identifier: Apache-2.0
// KKM through DKMS, where that is installed: it builds the module now, and for every kernel that comes.
import { dirname, join } from "node:path";
import { sourceStamp } from "../detect/build.js";
import { KERNEL_HOOKS } from "../etc.js";
import type { HostFacts, KernelBuildFacts } from "../facts.js";
import {
  DKMS_ADD_SCRIPT,
  DKMS_BUILD_SCRIPT,
  DKMS_REMOVE_SCRIPT,
  DKMS_RETURN_SCRIPT,
  DKMS_SOURCE,
  DKMS_UNINSTALL_SCRIPT,
  DKMS_VERSION,
} from "../kkm-scripts.js";
import { moduleIndexes, type RunStep, run, type Step, sh } from "./steps.js";

/** DKMS makes a key pair when it signs its first module. */
const KEY_FILES = ["/var/lib/dkms/mok.key", "/var/lib/dkms/mok.pub"];

/** DKMS is there, and no hook of an installation before it came, which would build the module a second time. */
export function usesDkms(facts: HostFacts): boolean {
  const hooks = [...KERNEL_HOOKS.debian, ...KERNEL_HOOKS.fedora];
  return facts.kkm.dkms !== null && !hooks.some((path) => facts.etc[path]);
}

/** The sources where DKMS looks for them; the stamp last, so that it stands for a whole copy. */
function sourceSteps(facts: HostFacts, stamp: string): Step[] {
  const files = facts.bundle.files
    .filter(({ target }) => target.startsWith("kkm/"))
    .map(({ target, source, mode, sha256 }): Step => {
      return { kind: "file", path: join(DKMS_SOURCE, target.slice("kkm/".length)), source, mode, sha256 };
    });
  const folders = new Set([DKMS_SOURCE]);
  for (const step of files) {
    if (step.kind !== "file") continue;
    for (let folder = dirname(step.path); folder !== DKMS_SOURCE; folder = dirname(folder))
      folders.add(folder);
  }
  return [
    ...[...folders].sort().map((path): Step => ({ kind: "folder", path, mode: 0o755 })),
    ...files,
    {
      kind: "text",
      path: join(DKMS_SOURCE, "stamp"),
      content: `${stamp}\n`,
      mode: 0o644,
      why: "names these sources",
    },
  ];
}

/** Other versions, or these sources in another state, leave DKMS before the new ones come. */
function unregisterSteps(facts: HostFacts, releases: string[]): RunStep[] {
  return facts.kkm.registered.map((version) =>
    run({
      name: "register",
      title: `take kkm ${version} out of DKMS`,
      argv: sh(DKMS_REMOVE_SCRIPT, version),
      touches: releases.flatMap(moduleIndexes),
      undo: sh(DKMS_RETURN_SCRIPT, version, ...releases),
      seconds: 1800,
    }),
  );
}

const registerStep = run({
  name: "register",
  title: `register kkm ${DKMS_VERSION} with DKMS, which builds it for new kernels`,
  argv: sh(DKMS_ADD_SCRIPT, DKMS_VERSION),
  undo: sh(DKMS_REMOVE_SCRIPT, DKMS_VERSION),
  seconds: 600,
});

function buildStep(facts: HostFacts, { release }: KernelBuildFacts, optional: boolean): RunStep {
  const kept = facts.folders.includes(`/lib/modules/${release}/updates`) ? ["keep"] : [];
  return run({
    name: "build",
    title: `build and install kkm.ko for kernel ${release} (DKMS)`,
    argv: sh(DKMS_BUILD_SCRIPT, DKMS_VERSION, release),
    touches: [...moduleIndexes(release), ...KEY_FILES.map((path) => ({ path, ours: false }))],
    undo: sh(DKMS_UNINSTALL_SCRIPT, DKMS_VERSION, release, ...kept),
    merge: ["depmod", release],
    optional,
    seconds: 1800,
  });
}

/** @param kernels to build for, the running one first */
export function dkmsSteps(facts: HostFacts, kernels: KernelBuildFacts[]): Step[] {
  const stamp = sourceStamp(facts.bundle.files);
  const { registered, sources } = facts.kkm;
  const current = sources === stamp && registered.length === 1 && registered[0] === DKMS_VERSION;
  const stale = kernels.filter(({ module }) => !current || module !== "current");
  return [
    ...(current
      ? []
      : [
          ...unregisterSteps(
            facts,
            kernels.map(({ release }) => release),
          ),
          ...sourceSteps(facts, stamp),
          registerStep,
        ]),
    ...stale.map((kernel) => buildStep(facts, kernel, kernel !== kernels[0])),
  ];
}
