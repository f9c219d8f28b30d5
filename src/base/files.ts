// SPDX-License-Identifier: Apache-2.0
// Files appear whole or not at all: written beside their place, fsync-ed, renamed, and the folder fsync-ed.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, lstat, open, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";

/** Node's system errors, which all carry a code such as ENOENT. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

/** `lstat`, or undefined where there is nothing. */
export async function lstatIfThere(path: string) {
  try {
    return await lstat(path);
  } catch (error) {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

/** Makes renames and removals in `folder` durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Where `path` is written before it is renamed into place; one per path, so that a rerun finds a broken one. */
export function temporaryFor(path: string): string {
  return join(dirname(path), `.${basename(path)}.kontain-tmp`);
}

/**
 * Puts a file at `path` atomically.
 * @param mode permission bits, e.g. 0o755; the umask does not apply
 * @param fill writes the content to the open file
 */
export async function putFile(
  path: string,
  mode: number,
  fill: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  const temporary = temporaryFor(path);
  await rm(temporary, { force: true });
  const handle = await open(temporary, "wx", 0o600);
  try {
    await fill(handle);
    await handle.chmod(mode);
    await handle.sync();
  } catch (error) {
    await handle.close();
    await rm(temporary, { force: true });
    throw error;
  }
  await handle.close();
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

/** A file did not have the content it should have. */
export class ChecksumError extends Error {
  override name = "ChecksumError";
}

/**
 * Copies `source` to `path` atomically.
 * @param wanted SHA-256 the content must have; nothing appears at `path` when it has another
 * @throws ChecksumError
 */
export async function copyFileWhole(
  source: string,
  path: string,
  mode: number,
  wanted?: string,
): Promise<void> {
  await putFile(path, mode, async (handle) => {
    const hash = createHash("sha256");
    const content = createReadStream(source);
    content.on("data", (chunk) => hash.update(chunk));
    await writeFile(handle, content);
    if (wanted !== undefined && hash.digest("hex") !== wanted) {
      throw new ChecksumError(`${source}: its content is not what it should be`);
    }
  });
}

/** SHA-256 of a file's content, in hex. */
export async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** Makes a file's content durable. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
