// SPDX-License-Identifier: Apache-2.0
// Keeping what is there before it is changed, and putting it back.
import { createHash } from "node:crypto";
import { link, lstat, readlink, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { execa } from "execa";
import { errorCode, lstatIfThere, sha256, syncFile, syncFolder, temporaryFor } from "../../base/files.js";
import type { Before, Journal } from "./journal.js";

export function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/**
 * Content, owner, mode, times and extended attributes (SELinux keeps its labels there, and Node cannot copy them) of a
 * file or link.
 */
async function copyExactly(from: string, to: string): Promise<void> {
  await rm(to, { force: true });
  const copied = await execa("cp", ["-a", "--", from, to], {
    reject: false,
    stdin: "ignore",
    env: { LC_ALL: "C" },
  });
  if (copied.exitCode !== 0) {
    const code = /No space left|quota exceeded/i.test(copied.stderr) ? "ENOSPC" : "EIO";
    throw Object.assign(new Error(copied.stderr.trim() || `${from}: cannot be copied`), { code });
  }
  if (!(await lstat(to)).isSymbolicLink()) await syncFile(to);
}

/** Keeps the inode at `path` under the journal's backup folder; a copy where that is another file system. */
export async function keepLinked(journal: Journal, path: string, seq: number): Promise<Before> {
  const there = await lstatIfThere(path);
  if (!there) return { type: "absent" };
  if (!there.isFile() && !there.isSymbolicLink()) {
    throw Object.assign(new Error(`${path} is in the way: not an ordinary file`), { code: "EEXIST" });
  }
  const backup = String(seq);
  await rm(journal.backupPath(backup), { force: true });
  try {
    await link(path, journal.backupPath(backup));
  } catch (error) {
    // EXDEV: another file system; EPERM: one without links, or protected_hardlinks; EMLINK: too many.
    if (!["EXDEV", "EPERM", "EMLINK"].includes(errorCode(error) ?? "")) throw error;
    await copyExactly(path, journal.backupPath(backup));
  }
  await syncFolder(dirname(journal.backupPath(backup)));
  return { type: "file", backup };
}

/** Keeps a copy: what a command will do to the inode is not ours to know. */
export async function keepCopied(journal: Journal, path: string, name: string): Promise<Before> {
  const there = await lstatIfThere(path);
  if (!there || !(there.isFile() || there.isSymbolicLink())) return { type: "absent" };
  await copyExactly(path, journal.backupPath(name));
  await syncFolder(dirname(journal.backupPath(name)));
  return { type: "file", backup: name };
}

/** Puts a backup in its place again and takes it out of the backups. */
export async function putBack(backup: string, path: string): Promise<void> {
  const [kept, there] = await Promise.all([lstat(backup), lstatIfThere(path)]);
  // Two names of one inode: rename(2) would do nothing.
  if (there && there.ino === kept.ino && there.dev === kept.dev) {
    await rm(backup);
    return;
  }
  try {
    await rename(backup, path);
  } catch (error) {
    if (errorCode(error) !== "EXDEV") throw error;
    const temporary = temporaryFor(path);
    await copyExactly(backup, temporary);
    await rename(temporary, path);
    await syncFolder(dirname(path));
    await rm(backup);
  }
}

/** SHA-256 of what is at `path`, of the target for a link; null where there is nothing. */
export async function fingerprint(path: string): Promise<string | null> {
  const there = await lstatIfThere(path);
  if (there?.isSymbolicLink()) return digest(`-> ${await readlink(path)}`);
  return there?.isFile() ? sha256(path) : null;
}
