// SPDX-License-Identifier: Apache-2.0
// Runs a guest of a few instructions on each device through the addon. In a process of its own, which can be ended: a
// device that hangs must not take the installer along. The child is this same file.
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { native } from "../../monitor/native.js";

/** What the addon found on one device. */
export interface GuestProof {
  path: string;
  usable: boolean;
  /** "KVM_CREATE_VM: EBUSY"; empty when it is usable. */
  problem: string;
}

const SECONDS = 20;

function probe(): GuestProof[] {
  return native()
    .probeDrivers()
    .map(({ path, usable, error }) => ({
      path,
      usable,
      problem: error ? `${error.syscall}: ${error.code}` : "",
    }));
}

/** One entry for each of the usual devices; undefined where the addon is not built or its process did not answer. */
export async function probeGuests(): Promise<GuestProof[] | undefined> {
  const child = await execa(
    process.execPath,
    [...process.execArgv, fileURLToPath(import.meta.url), "probe"],
    {
      reject: false,
      stdin: "ignore",
      timeout: SECONDS * 1000,
    },
  );
  if (child.exitCode !== 0) return undefined;
  return JSON.parse(child.stdout) as GuestProof[];
}

if (process.argv[1] === fileURLToPath(import.meta.url) && process.argv[2] === "probe") {
  process.stdout.write(JSON.stringify(probe()));
}
