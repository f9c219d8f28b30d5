// SPDX-License-Identifier: Apache-2.0
// A cgroup (v2) of a machine's own, where this process has been given a place for one (cgroup-v2.rst, "Delegation").
import { access, constants, mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errorCode } from "../base/files.js";
import type { Usage } from "./watch.js";

const MOUNT = "/sys/fs/cgroup";
let made = 0;

const words = async (file: string) => (await readFile(file, "utf8")).split(/\s+/);

/** Value of `key` in a flat-keyed file such as cpu.stat; 0 when it is not there. */
async function keyed(file: string, key: string): Promise<number> {
  const text = await readFile(file, "utf8").catch(() => "");
  return Number(new RegExp(`^${key} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
}

/** Whether children of `directory` can have a memory limit; switches the controller on where that is allowed. */
async function hasMemory(directory: string): Promise<boolean> {
  const control = join(directory, "cgroup.subtree_control");
  if ((await words(control)).includes("memory")) return true;
  if (!(await words(join(directory, "cgroup.controllers"))).includes("memory")) return false;
  // EBUSY: processes sit in it (the "no internal processes" rule; the root is exempt).
  return writeFile(control, "+memory").then(
    () => true,
    () => false,
  );
}

/** Where this process is, or above it, as far as this user may move processes and the kernel lets a limit be set. */
async function delegated(memory: boolean): Promise<string | undefined> {
  const own = (await readFile("/proc/self/cgroup", "utf8"))
    .split("\n")
    .find((line) => line.startsWith("0::"));
  if (!own) return undefined;
  let directory = join(MOUNT, own.slice(3));
  for (let up = 0; up <= 2 && directory.startsWith(MOUNT); up++, directory = dirname(directory)) {
    try {
      await access(directory, constants.W_OK);
      await access(join(directory, "cgroup.procs"), constants.W_OK);
      if (!memory || (await hasMemory(directory))) return directory;
    } catch {
      // Not v2, or not ours: perhaps the one above is.
    }
  }
  return undefined;
}

const places = new Map<boolean, Promise<string | undefined>>();

/** Directory for cgroups of machines, or undefined. Looked up once. */
function placeFor(memory: boolean): Promise<string | undefined> {
  const place = places.get(memory) ?? delegated(memory).catch(() => undefined);
  places.set(memory, place);
  return place;
}

export class Cgroup {
  private constructor(
    readonly directory: string,
    /** Whether the kernel enforces a memory limit here. */
    readonly limitsMemory: boolean,
  ) {}

  /** @param memoryLimit bytes (memory.max), or undefined for a group that only counts and kills */
  static async create(memoryLimit: number | undefined): Promise<Cgroup | undefined> {
    const place = await placeFor(memoryLimit !== undefined);
    if (!place) return undefined;
    const group = new Cgroup(join(place, `kontain-${process.pid}-${++made}`), memoryLimit !== undefined);
    await mkdir(group.directory);
    try {
      if (memoryLimit !== undefined) {
        await group.#write("memory.max", String(Math.ceil(memoryLimit)));
        await group.#write("memory.oom.group", "1");
        await group.#write("memory.swap.max", "0").catch(() => {}); // no swap accounting: nothing to limit
      }
      return group;
    } catch (error) {
      await rmdir(group.directory).catch(() => {});
      throw error;
    }
  }

  #write(file: string, text: string): Promise<void> {
    return writeFile(join(this.directory, file), text);
  }

  /** Kills all in it, however it was reparented (Linux 5.14). */
  async kill(): Promise<void> {
    await this.#write("cgroup.kill", "1").catch(() => {});
  }

  /** Bytes charged to it, and CPU time in milliseconds of all that ever ran in it. */
  async usage(): Promise<Usage> {
    const text = (file: string) => readFile(join(this.directory, file), "utf8").catch(() => "");
    const [memory, microseconds, pids] = await Promise.all([
      text("memory.current"), // empty without the controller
      keyed(join(this.directory, "cpu.stat"), "usage_usec"),
      text("cgroup.procs"),
    ]);
    return {
      memoryBytes: Number(memory),
      cpuMs: microseconds / 1000,
      processes: pids.split("\n").filter(Boolean).length,
    };
  }

  /** How often the kernel killed in it for want of memory. */
  outOfMemory(): Promise<number> {
    return keyed(join(this.directory, "memory.events"), "oom_kill");
  }

  /** Removes it. What is still in it is killed. */
  async remove(): Promise<void> {
    for (let attempt = 0; attempt < 50; attempt++) {
      try {
        return await rmdir(this.directory);
      } catch (error) {
        if (errorCode(error) !== "EBUSY") return;
      }
      await this.kill();
      await sleep(20);
    }
  }
}
