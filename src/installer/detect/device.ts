// SPDX-License-Identifier: Apache-2.0
// The state of a virtualization device, proved by running a payload on it rather than read from CPU flags.
import { constants, type Stats } from "node:fs";
import { open, readFile, stat } from "node:fs/promises";
import { errorCode } from "../../base/files.js";
import type { DeviceFacts } from "../facts.js";
import { runHello } from "../verify/hello.js";

/** Name of a numeric id in /etc/passwd or /etc/group, or the number. */
async function nameOf(id: number, table: "/etc/passwd" | "/etc/group"): Promise<string> {
  const text = await readFile(table, "utf8").catch(() => "");
  const line = text.split("\n").find((row) => row.split(":")[2] === String(id));
  return line?.split(":")[0] ?? String(id);
}

async function access(stats: Stats): Promise<string> {
  const mode = (stats.mode & 0o7777).toString(8).padStart(4, "0");
  return `${mode} ${await nameOf(stats.uid, "/etc/passwd")}:${await nameOf(stats.gid, "/etc/group")}`;
}

async function tryOpen(path: string): Promise<string | undefined> {
  try {
    const handle = await open(path, constants.O_RDWR);
    await handle.close();
    return undefined;
  } catch (error) {
    return errorCode(error) ?? String(error);
  }
}

/** Words for the errors that opening a device gives (open(2)). */
const OPEN_ERRORS: Record<string, string> = {
  EACCES: "permission denied",
  EPERM: "permission denied",
  ENODEV: "the device node is there, but no driver behind it",
  ENXIO: "the device node is there, but no driver behind it",
  EBUSY: "busy",
};

/**
 * Looks at one device.
 * @param proof monitor and payload to prove it with; undefined: neither is built, and nothing can be proved
 */
export async function detectDevice(
  path: string,
  proof?: { monitor: string; hello: string },
): Promise<DeviceFacts> {
  let stats: Stats;
  try {
    stats = await stat(path);
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return { path, state: "absent", evidence: "no such file" };
    return { path, state: "denied", evidence: OPEN_ERRORS[code ?? ""] ?? String(error) };
  }
  const facts = { path, access: await access(stats) };
  if (!stats.isCharacterDevice()) return { ...facts, state: "other", evidence: "not a character device" };
  const problem = await tryOpen(path);
  if (problem) {
    const state = problem === "EACCES" || problem === "EPERM" ? "denied" : "broken";
    return { ...facts, state, evidence: OPEN_ERRORS[problem] ?? problem };
  }
  if (!proof)
    return { ...facts, state: "broken", evidence: "it opens; nothing is built yet that could run on it" };
  const run = await runHello(proof.monitor, proof.hello, path);
  if (!run.works) return { ...facts, state: "broken", evidence: run.problem };
  return { ...facts, state: "works", evidence: run.stdout.split("\n")[0] ?? "" };
}
