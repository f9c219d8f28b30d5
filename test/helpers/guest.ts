// SPDX-License-Identifier: Apache-2.0
// The lab's guest as a place to run programs: the host's files under an overlay, /dev/kvm by nested SVM.
import { type Guest, openGuest } from "../lab/index.js";
import { ENVIRONMENT, type Outcome, PATIENCE, type Place, signalName } from "./place.js";

export interface GuestPlace extends Place {
  close(): Promise<void>;
}

async function must(guest: Guest, command: readonly string[], cwd: string): Promise<string> {
  const done = await guest.run(command, { cwd });
  if (done.exitCode !== 0) throw new Error(`${command.join(" ")}: ${done.stderr}`);
  return done.stdout;
}

/** Boots a guest. @throws Unavailable (test/lab/errors.ts) where the host cannot boot one */
export async function openGuestPlace(kernel?: string): Promise<GuestPlace> {
  const guest = await openGuest({ style: "root", ...(kernel === undefined ? {} : { kernel }) });
  return {
    size: "guest",
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
