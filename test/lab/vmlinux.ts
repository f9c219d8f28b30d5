// SPDX-License-Identifier: Apache-2.0
// Takes the kernel proper out of a bzImage, for QEMU's PVH boot: unpacking it on the host takes a second, letting the
// emulated processor do it takes ten. Layout: the kernel's Documentation/arch/x86/boot.rst.

import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { buildOnce, cachePath } from "./cache.js";
import type { KernelFiles } from "./kernel-files.js";

const sectorSize = 512;
const offsets = { setupSectors: 0x1f1, magic: 0x202, payloadOffset: 0x248, payloadLength: 0x24c };
const elfMagic = Buffer.from("\x7fELF");

const decompressors: readonly { readonly magic: string; readonly command: readonly string[] }[] = [
  { magic: "fd377a585a00", command: ["xz", "--decompress", "--stdout", "--single-stream"] },
  { magic: "28b52ffd", command: ["zstd", "--decompress", "--stdout"] },
  { magic: "02214c18", command: ["lz4", "-d", "-c"] },
  { magic: "1f8b08", command: ["gzip", "--decompress", "--stdout"] },
];

/** The compressed kernel inside a bzImage, without the length that ends it; undefined when this is no bzImage. */
export function bzImagePayload(image: Buffer): Buffer | undefined {
  if (image.length < 0x250 || image.toString("latin1", offsets.magic, offsets.magic + 4) !== "HdrS")
    return undefined;
  const setupSectors = image.readUInt8(offsets.setupSectors) || 4;
  const start = (setupSectors + 1) * sectorSize + image.readUInt32LE(offsets.payloadOffset);
  const end = start + image.readUInt32LE(offsets.payloadLength);
  return end <= image.length && end - start > 4 ? image.subarray(start, end - 4) : undefined;
}

async function extract(bzImage: string): Promise<Buffer | undefined> {
  const payload = bzImagePayload(await readFile(bzImage));
  if (!payload) return undefined;
  const [program, ...args] =
    decompressors.find(({ magic }) => payload.toString("hex", 0, 8).startsWith(magic))?.command ?? [];
  if (!program) return undefined;
  const unpacked = await execa(program, args, { input: payload, encoding: "buffer", reject: false });
  const kernel = unpacked.exitCode === 0 ? Buffer.from(unpacked.stdout) : undefined;
  return kernel?.subarray(0, 4).equals(elfMagic) ? kernel : undefined;
}

/** What to give QEMU as the kernel: the unpacked one where this host can unpack it, else the bzImage as it is. */
export async function directKernel(files: KernelFiles): Promise<string> {
  // the PVH entry runs C code before KASAN has its shadow, and dies of it without a word
  if ("config" in files.kernel) return files.vmlinuz;
  const directory = cachePath("vmlinux", `${files.kernel.id}-${files.version}`);
  if (!existsSync(directory)) {
    const kernel = await extract(files.vmlinuz);
    if (!kernel) return files.vmlinuz;
    await buildOnce(directory, (partial) => writeFile(join(partial, "vmlinux"), kernel));
  }
  return join(directory, "vmlinux");
}
