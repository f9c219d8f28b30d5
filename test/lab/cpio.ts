// SPDX-License-Identifier: Apache-2.0
// Writes an initramfs: the "newc" cpio format of the kernel's Documentation/driver-api/early-userspace/buffer-format.

export interface ArchiveEntry {
  /** Path without a leading slash. Parents are made as needed. */
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  readonly data: Buffer;
}

const directoryType = 0o040000;
const fileType = 0o100000;

function padding(size: number): Buffer {
  return Buffer.alloc((4 - (size % 4)) % 4);
}

function record(inode: number, path: string, mode: number, data: Buffer): Buffer[] {
  const name = Buffer.from(`${path}\0`);
  // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`);
  return [header, name, padding(header.length + name.length), data, padding(data.length)];
}

function parents(path: string): string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, at) => parts.slice(0, at + 1).join("/"));
}

/** The archive of `entries`, in their order, with the directories they need. */
export function cpioArchive(entries: readonly ArchiveEntry[]): Buffer {
  const chunks: Buffer[] = [];
  const made = new Set<string>();
  let inode = 1;
  for (const entry of entries) {
    for (const directory of parents(entry.path)) {
      if (made.has(directory)) continue;
      made.add(directory);
      chunks.push(...record(inode++, directory, directoryType | 0o755, Buffer.alloc(0)));
    }
    chunks.push(...record(inode++, entry.path, fileType | entry.mode, entry.data));
  }
  chunks.push(...record(0, "TRAILER!!!", 0, Buffer.alloc(0)));
  return Buffer.concat(chunks);
}
