// SPDX-License-Identifier: Apache-2.0
// The lab's guest as a place to run programs: the host's files under an overlay, /dev/kvm by nested SVM.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { buildModule } from "../lab/build-module.js";
import { type Guest, openGuest } from "../lab/index.js";
import { defaultKernel } from "../lab/kernels.js";
import { ROOT } from "./paths.js";
import { ENVIRONMENT, type Outcome, PATIENCE, type Place, signalName } from "./place.js";

export interface GuestPlace extends Place {
  /** Why there is no /dev/kkm beside /dev/kvm; undefined when there is. */
  readonly noKkm: string | undefined;
  close(): Promise<void>;
}

async function must(guest: Guest, command: readonly string[], cwd: string): Promise<string> {
  const done = await guest.run(command, { cwd });
  if (done.exitCode !== 0) throw new Error(`${command.join(" ")}: ${done.stderr}`);
  return done.stdout;
}

/** The guest has the host's root. */
const INSMOD = "/sbin/insmod";

/** kkm.ko for the guest's kernel, or why it cannot be had: no headers, no compiler, no network, nothing to load it with. */
async function kkmModule(): Promise<{ source: string } | { reason: string }> {
  if (!existsSync(INSMOD)) return { reason: `no ${INSMOD} here: apt-get install kmod` };
  try {
    const [source] = (await buildModule(defaultKernel, join(ROOT, "kkm"))).modules;
    return source === undefined ? { reason: "the build left no kkm.ko" } : { source };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}

/** Boots a guest with /dev/kvm and, where it can be had, /dev/kkm. @throws Unavailable where the host cannot boot one */
export async function openGuestPlace(): Promise<GuestPlace> {
  const kkm = await kkmModule();
  const files = "source" in kkm ? [{ path: "kkm.ko", source: kkm.source }] : [];
  const guest = await openGuest({ style: "root", kernel: defaultKernel, files });
  if ("source" in kkm) await must(guest, [INSMOD, "/run/kontain-lab/suite/kkm.ko"], "/");
  return {
    size: "guest",
    noKkm: "reason" in kkm ? kkm.reason : undefined,
    async run({ command, cwd, env, stdin, seconds }): Promise<Outcome> {
      const done = await guest.run(command, {
        cwd,
        env: { ...ENVIRONMENT, ...env },
        ...(stdin === undefined ? {} : { stdin }),
        timeoutSeconds: seconds * PATIENCE,
      });
      const ended = done.signal === undefined ? done.exitCode : signalName(done.signal);
      return { status: done.timedOut ? "timeout" : ended, stdout: done.stdoutBytes, stderr: done.stderr };
    },
    async inScratch(use) {
      const directory = (await must(guest, ["mktemp", "-d", "/tmp/km-test-XXXXXX"], "/")).trim();
      try {
        return await use(directory);
      } finally {
        await must(guest, ["rm", "-rf", directory], "/");
      }
    },
    close: async () => {
      await guest.close();
    },
  };
}
