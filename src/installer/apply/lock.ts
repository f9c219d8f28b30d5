// SPDX-License-Identifier: Apache-2.0
// One installer at a time. Each puts a file named after its process beside the journal and looks for those of others only
// then: of any two at least the later one sees the earlier, in whatever order they work, so never do both go on. Files of
// processes that are gone are removed by whoever sees them.
import { open, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { errorCode } from "../../base/files.js";

/** How often one that met another looks again: of two that began at the same moment both have made room. */
const TRIES = 8;

/** Start time of a process in clock ticks since boot (proc(5), stat field 22), or undefined when it is gone. */
export async function startTime(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

/** The process of a living installer whose lock is in `folder` beside `mine`. */
async function holder(folder: string, mine: string): Promise<number | undefined> {
  for (const name of await readdir(folder)) {
    const [, pid, started] = /^lock\.(\d+)\.(\d+)$/.exec(name) ?? [];
    if (!pid || name === mine) continue;
    if ((await startTime(Number(pid))) === started) return Number(pid);
    await rm(join(folder, name), { force: true });
  }
  return undefined;
}

/**
 * Takes the lock of an installation.
 * @param folder of its journal
 * @returns the lock's file, to be removed at the end; the number of the process that has it; or undefined where the folder
 * is gone (another one has just removed the installation)
 */
export async function takeLock(folder: string): Promise<{ file: string } | { held: number } | undefined> {
  const mine = `lock.${process.pid}.${await startTime(process.pid)}`;
  const file = join(folder, mine);
  for (let attempt = 1; ; attempt++) {
    try {
      await (await open(file, "wx", 0o644)).close();
    } catch (error) {
      if (errorCode(error) === "ENOENT") return undefined;
      if (errorCode(error) === "EEXIST") return { held: process.pid };
      throw error;
    }
    const held = await holder(folder, mine).catch((error) => {
      if (errorCode(error) === "ENOENT") return "gone" as const;
      throw error;
    });
    if (held === undefined) return { file };
    if (held === "gone") return undefined;
    await rm(file, { force: true });
    if (attempt === TRIES) return { held };
    await setTimeout(20 + Math.random() * 200);
  }
}
