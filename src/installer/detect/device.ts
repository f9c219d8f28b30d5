// SPDX-License-Identifier: Apache-2.0
// The state of a virtualization device, proved by running a guest on it rather than read from CPU flags.
import { type FileFacts, type Host, realHost } from "../../base/host.js";
import type { DeviceFacts } from "../facts.js";
import { runHello } from "../verify/hello.js";
import type { GuestProof } from "./guest-probe.js";

/** Runs something on a device that opened. */
export interface Prover {
  /** What the addon's guest did; undefined: it could not be tried. */
  guest: (path: string) => Promise<GuestProof | undefined>;
  /** What the hello payload did under km; undefined: neither is built. */
  payload: (path: string) => Promise<{ works: boolean; stdout: string; problem: string } | undefined>;
}

function access({ mode, owner, group }: FileFacts): string {
  return `${mode.toString(8).padStart(4, "0")} ${owner}:${group}`;
}

/** Words for the errors that opening a device gives (open(2)). */
const OPEN_ERRORS: Record<string, string> = {
  EACCES: "permission denied",
  EPERM: "permission denied",
  ENODEV: "the device node is there, but no driver behind it",
  ENXIO: "the device node is there, but no driver behind it",
  EBUSY: "busy",
};

async function prove(path: string, prover: Prover): Promise<Pick<DeviceFacts, "state" | "evidence">> {
  const guest = await prover.guest(path);
  // One that was made and ended otherwise than it should may have met a busy moment: then the payload decides.
  if (guest && !guest.usable && !guest.problem.startsWith("KVM_RUN")) {
    return { state: "broken", evidence: `no guest runs: ${guest.problem}` };
  }
  const run = await prover.payload(path);
  if (!run) return { state: "broken", evidence: "it opens; nothing is built yet that could run on it" };
  if (!run.works) return { state: "broken", evidence: run.problem };
  return { state: "works", evidence: run.stdout.split("\n")[0] ?? "" };
}

/** Looks at one device. */
export async function lookAtDevice(host: Host, path: string, prover: Prover): Promise<DeviceFacts> {
  const stats = await host.stat(path);
  if (stats === undefined) return { path, state: "absent", evidence: "no such file" };
  if (typeof stats === "string") return { path, state: "denied", evidence: OPEN_ERRORS[stats] ?? stats };
  const facts = { path, access: access(stats) };
  if (stats.type !== "character") return { ...facts, state: "other", evidence: "not a character device" };
  const problem = await host.tryOpen(path);
  if (problem) {
    const state = problem === "EACCES" || problem === "EPERM" ? "denied" : "broken";
    return { ...facts, state, evidence: OPEN_ERRORS[problem] ?? problem };
  }
  return { ...facts, ...(await prove(path, prover)) };
}

/** The payload under the monitor, as a prover has it. */
export function payloadProver(proof: { monitor: string; hello: string } | undefined): Prover["payload"] {
  return async (path) => (proof ? await runHello(proof.monitor, proof.hello, path) : undefined);
}

/**
 * Looks at one device of this machine.
 * @param proof monitor and payload to prove it with; undefined: neither is built, and nothing can be proved
 */
export async function detectDevice(
  path: string,
  proof?: { monitor: string; hello: string },
): Promise<DeviceFacts> {
  const prover: Prover = { guest: async () => undefined, payload: payloadProver(proof) };
  return lookAtDevice(await realHost(), path, prover);
}
