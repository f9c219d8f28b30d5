// SPDX-License-Identifier: Apache-2.0
// What a launch leaves on the host while its machine runs, and takes away behind it.
import { closeSync, openSync, readSync, unlinkSync } from "node:fs";
import { mkdtemp, rm, unlink, writeFile } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { Cgroup } from "./cgroup.js";
import { MonitorError, type MonitorErrorCode } from "./errors.js";
import { ownSockets } from "./registry.js";

let made = 0;
const MAX_REPORT = 4096;

/** What km's exit statuses mean when its status file says that it failed (native/machine/guest_thread.h). */
const FAILURES: Record<string, MonitorErrorCode> = {
  1: "ERR_KM_NO_DEVICE",
  2: "ERR_KM_NOT_EXECUTABLE",
  3: "ERR_KM_MONITOR_DIED",
};

/**
 * A nameless file that km, and the jail before it, say in what becomes of them (native/manage/report.h). The payload
 * cannot reach it.
 */
export class StatusFile {
  readonly fd: number;

  constructor() {
    const path = join(tmpdir(), `kontain-status-${process.pid}-${++made}`);
    this.fd = openSync(path, "ax+", 0o600);
    unlinkSync(path);
  }

  #text(): string {
    const buffer = Buffer.alloc(MAX_REPORT);
    return buffer.toString("utf8", 0, readSync(this.fd, buffer, 0, MAX_REPORT, 0));
  }

  /** Whether the payload, or what it forked, was refused memory. */
  get refusedMemory(): boolean {
    return /^no-memory$/m.test(this.#text());
  }

  /** The signal that ended the payload where the process could only exit with 128 + n (as pid 1 of its namespace). */
  get signal(): NodeJS.Signals | undefined {
    const number = Number(/^signal (\d+)$/m.exec(this.#text())?.[1]);
    const names = Object.entries(constants.signals) as [NodeJS.Signals, number][];
    return names.find(([, value]) => value === number)?.[0];
  }

  /** The failure, or undefined when the payload ran to its end. @param status exit status of the process, null after a signal */
  failure(status: number | null): MonitorError | undefined {
    const text = this.#text();
    const failed = /^failed (\d) (.*)$/m.exec(text);
    if (failed) return new MonitorError(FAILURES[failed[1] ?? ""] ?? "ERR_KM_MONITOR_DIED", failed[2] ?? "");
    if (/^started$/m.test(text) || status === null) return undefined;
    const said = text.trim().split("\n").at(-1);
    if (said) return new MonitorError("ERR_KM_LIMIT", `the limits cannot be set up here: ${said}`);
    return new MonitorError("ERR_KM_MONITOR_DIED", `km ended with status ${status} before the payload began`);
  }

  close(): void {
    closeSync(this.fd);
  }
}

export class Scratch {
  readonly status = new StatusFile();
  #folder: string | undefined;
  /** The monitor's log, where one is wanted. */
  log: string | undefined;
  cgroup: Cgroup | undefined;

  /** @param limits whether a cgroup is wanted, if one can be had */
  static async create(limits: boolean, memoryLimit: number | undefined, logged: boolean): Promise<Scratch> {
    const scratch = new Scratch();
    try {
      if (limits) scratch.cgroup = await Cgroup.create(memoryLimit);
      if (logged) {
        scratch.#folder = await mkdtemp(join(tmpdir(), "kontain-launch-"));
        scratch.log = join(scratch.#folder, "km.log");
        await writeFile(scratch.log, "");
      }
      return scratch;
    } catch (error) {
      await scratch.remove(undefined);
      throw error;
    }
  }

  /** @param killed the monitor's pid when it could not take its socket's name back */
  async remove(killed: number | undefined): Promise<void> {
    this.status.close();
    if (this.#folder) await rm(this.#folder, { recursive: true, force: true });
    await this.cgroup?.remove();
    if (killed === undefined) return;
    for (const socket of await ownSockets(killed)) await unlink(socket).catch(() => {});
  }
}
