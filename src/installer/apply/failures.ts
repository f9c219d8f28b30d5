// SPDX-License-Identifier: Apache-2.0
// From a command's exit status and words to a reason with an id.
import { REBUILD_STATUS } from "../kkm-scripts.js";
import type { RunName, RunStep } from "../plan/steps.js";
import { type Problem, problem, type ReasonId } from "../reasons.js";

/** Exit statuses of kkm/build.sh and of rebuild.sh around it. */
const BUILD_STATUS: Record<number, ReasonId> = {
  10: "build-headers",
  11: "build-compiler",
  12: "build-tools",
  13: "build-failed",
  [REBUILD_STATUS.signing]: "signing-failed",
  [REBUILD_STATUS.install]: "module-install-failed",
  [REBUILD_STATUS.workspace]: "build-workspace",
};

/** Words of the C library, of apt and of dpkg for a disk that is full, whatever was being done. */
const DISK_FULL = /No space left on device|Disk quota exceeded|have enough free space/i;

/** modprobe(8)'s words for what finit_module(2) answered. */
const LOAD_WORDS: [RegExp, ReasonId][] = [
  [/Key was rejected|Required key not available/i, "load-signature"],
  [/Operation not permitted/i, "load-not-permitted"],
  [/Exec format error|Invalid module format/i, "load-format"],
  [/Unknown symbol|Operation not supported|No such device/i, "load-unsupported"],
];

const OTHERWISE: Record<RunName, ReasonId> = {
  packages: "packages-failed",
  group: "group-failed",
  register: "dkms-failed",
  build: "build-failed",
  load: "load-failed",
  "kvm-load": "kvm-load-failed",
};

function reasonOf(step: RunStep, status: number, output: string): ReasonId {
  if (DISK_FULL.test(output)) return "disk-full";
  if (step.name === "build") return BUILD_STATUS[status] ?? "build-failed";
  if (step.name === "load") {
    return LOAD_WORDS.find(([words]) => words.test(output))?.[1] ?? "load-failed";
  }
  return OTHERWISE[step.name];
}

/** The line that says most: of a full disk, the last of ours, apt's first error, another error's last, or the last. */
function telling(output: string): string {
  const lines = output.trim().split("\n").filter(Boolean);
  // apt is tried again with new lists: what counts is what the last try said.
  const lastTry = lines.slice(lines.findLastIndex((line) => line.startsWith("Reading package lists")) + 1);
  return (
    lines.find((line) => DISK_FULL.test(line)) ??
    lines.findLast((line) => /^kkm: /.test(line)) ??
    lastTry.find((line) => line.startsWith("E: ")) ??
    lines.findLast((line) => /error|fatal/i.test(line)) ??
    lines.at(-1) ??
    ""
  );
}

/** @param log where the whole output is kept */
export function classify(
  step: RunStep,
  ended: { status: number; output: string; timedOut: boolean },
  log?: string,
): Problem {
  const said = ended.timedOut ? `no end within ${step.seconds} seconds` : telling(ended.output);
  const id = reasonOf(step, ended.status, ended.output);
  const evidence = `${step.title}: ${said}${log ? ` (log: ${log})` : ""}`;
  // Not the prefix's file system, of which this reason speaks otherwise.
  return id === "disk-full"
    ? problem(
        id,
        evidence,
        "make room on the file system that the line or the log names, then run this again",
      )
    : problem(id, evidence);
}
