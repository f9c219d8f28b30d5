// SPDX-License-Identifier: Apache-2.0
// Reads a package as `npm pack` writes it: a gzip-ed tar archive of ordinary files below package/. Whoever made it may
// mean ill, so that nothing but such files is taken: no links, no devices, no names that lead elsewhere.
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { errorCode } from "../base/files.js";

export class ArchiveError extends Error {
  override name = "ArchiveError";
}

/** The largest package that is unpacked, in bytes. */
const MOST = 512 << 20;
const BLOCK = 512;
const TOP = "package/";

/** Offsets and lengths of the fields of a header (POSIX.1-1988, ustar). */
const FIELD = {
  name: [0, 100],
  size: [124, 12],
  checksum: [148, 8],
  type: [156, 1],
  magic: [257, 5],
  prefix: [345, 155],
} as const;

const CUT_OFF = "it ends in the middle; was it downloaded only in part?";

/** Inflates a package. @throws ArchiveError */
export async function inflate(packed: Uint8Array): Promise<Buffer> {
  try {
    return await promisify(gunzip)(packed, { maxOutputLength: MOST });
  } catch (error) {
    const code = errorCode(error);
    if (code === "Z_BUF_ERROR") throw new ArchiveError(CUT_OFF);
    if (code === "ERR_BUFFER_TOO_LARGE") throw new ArchiveError(`it holds more than ${MOST >> 20} MiB`);
    if (code === "Z_DATA_ERROR") throw new ArchiveError("it is no gzip-ed archive, or a damaged one");
    throw error;
  }
}

function text(bytes: Uint8Array, [at, length]: readonly [number, number]): string {
  const field = bytes.subarray(at, at + length);
  const end = field.indexOf(0);
  return decode(end < 0 ? field : field.subarray(0, end));
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ArchiveError("a name in it is no UTF-8");
  }
}

function octal(header: Uint8Array, field: readonly [number, number], what: string): number {
  const digits = text(header, field).trim();
  if (!/^[0-7]{1,11}$/.test(digits)) throw new ArchiveError(`a header in it has no ${what}`);
  return Number.parseInt(digits, 8);
}

function checkHeader(header: Uint8Array): void {
  const [at, length] = FIELD.checksum;
  const sum = header.reduce(
    (total, byte, index) => total + (index >= at && index < at + length ? 0x20 : byte),
    0,
  );
  if (text(header, FIELD.magic) !== "ustar" || octal(header, FIELD.checksum, "checksum") !== sum) {
    throw new ArchiveError("it is no tar archive, or a damaged one");
  }
}

/** The records of an extended header: "27 path=some/name\n". Sizes beyond a header's eleven digits are not taken. */
function extendedPath(content: Uint8Array): string | undefined {
  return /(?:^|\n)\d+ path=([^\n]*)\n/.exec(decode(content))?.[1];
}

/** The part of a name below the top folder. */
function checkName(name: string): string {
  const shown = JSON.stringify(name.slice(0, 100));
  if (!name.startsWith(TOP)) throw new ArchiveError(`${shown} in it is not below ${TOP}`);
  const path = name.slice(TOP.length);
  const parts = path.split("/");
  const odd = parts.some((part) => part === "" || part === "." || part === "..");
  // Printable ASCII without the backslash: what packages have, and no terminal obeys.
  if (odd || !/^[\x20-\x5b\x5d-\x7e]+$/.test(path)) {
    throw new ArchiveError(`it has a name that no package has: ${shown}`);
  }
  return path;
}

/**
 * The ordinary files of a tar archive by their path below package/.
 * @throws ArchiveError with what is wrong, in words that go on after the file's name
 */
export function readTar(archive: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  let named: string | undefined;
  for (let at = 0; ; ) {
    const header = archive.subarray(at, at + BLOCK);
    if (header.length < BLOCK) throw new ArchiveError(CUT_OFF);
    if (header.every((byte) => byte === 0)) return files;
    checkHeader(header);
    const size = octal(header, FIELD.size, "size");
    const content = archive.subarray(at + BLOCK, at + BLOCK + size);
    if (content.length < size) throw new ArchiveError(CUT_OFF);
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    const type = text(header, FIELD.type);
    if (type === "x") {
      named = extendedPath(content);
      continue;
    }
    if (type === "g") continue;
    const prefix = text(header, FIELD.prefix);
    const name = named ?? (prefix ? `${prefix}/` : "") + text(header, FIELD.name);
    named = undefined;
    if (type === "5") continue;
    if (type !== "0" && type !== "") {
      throw new ArchiveError(`${JSON.stringify(name.slice(0, 100))} in it is no ordinary file`);
    }
    const path = checkName(name);
    if (files.has(path)) throw new ArchiveError(`it has ${JSON.stringify(path)} twice`);
    files.set(path, content);
  }
}
