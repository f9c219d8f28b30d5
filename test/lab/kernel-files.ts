// SPDX-License-Identifier: Apache-2.0
// A Debian kernel in the cache: image, modules, headers and kbuild, unpacked side by side.

import { existsSync, readFileSync } from "node:fs";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { closure, unpack } from "./apt.js";
import { buildOnce, cachePath, withLock } from "./cache.js";
import { Unavailable } from "./errors.js";
import type { Kernel } from "./kernels.js";

export interface KernelFiles {
  readonly kernel: Kernel;
  /** What uname -r says in the guest. */
  readonly uname: string;
  /** Debian's version of the image package. */
  readonly version: string;
  /** Everything unpacked: boot/, lib/modules or usr/lib/modules, usr/src. */
  readonly root: string;
  readonly vmlinuz: string;
  readonly modules: string;
  /** The compiler Debian built it with, which its headers want for modules: gcc-12. */
  readonly compiler: string;
}

interface Manifest {
  readonly uname: string;
  readonly version: string;
  readonly compiler: string;
  readonly packages: Record<string, string>;
}

// linux-base (without a version behind it) holds only scripts for installed systems
const isKernelPart = (name: string) => /^linux-(image|binary|modules|headers|kbuild|base-[0-9])/.test(name);

async function fetchInto(kernel: Kernel, directory: string): Promise<void> {
  const names = [`linux-image-${kernel.flavour}`, `linux-headers-${kernel.flavour}`];
  const packages = await closure(kernel.release, names, isKernelPart);
  const image = packages.find(({ name }) => /^linux-image-[0-9]/.test(name));
  if (!image) throw new Unavailable(`${kernel.release} has no linux-image for ${kernel.flavour}`);
  // the headers depend on it, as gcc-14, gcc-16-for-host or linux-compiler-gcc-12-x86
  const wishes = packages.flatMap(({ depends }) => depends);
  const compiler = wishes.map((name) => /^(?:linux-compiler-)?(gcc-\d+)/.exec(name)?.[1]).find(Boolean);
  if (!compiler) throw new Unavailable(`the headers of ${image.name} name no compiler`);
  const root = join(directory, "root");
  await unpack(kernel.release, packages, root);
  const manifest: Manifest = {
    uname: image.name.replace("linux-image-", ""),
    version: image.version,
    compiler,
    packages: Object.fromEntries(packages.map(({ name, version }) => [name, version])),
  };
  // so that modprobe works in whole-root guests; where the host has no depmod they use insmod
  await execa("depmod", ["-b", moduleBase(root), manifest.uname], {
    reject: false,
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
  await writeFile(join(directory, "kernel.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** The directory whose lib/modules holds the modules: newer packages keep them under usr. */
function moduleBase(root: string): string {
  return existsSync(join(root, "lib/modules")) ? root : join(root, "usr");
}

/**
 * The kernel's files, fetched on first use.
 * @param refresh fetch the newest even where the cache has one
 * @throws Unavailable when apt cannot get it
 */
export async function kernelFiles(kernel: Kernel, refresh = false): Promise<KernelFiles> {
  const directory = cachePath("kernels", kernel.id);
  if (refresh) await withLock(directory, () => rm(directory, { recursive: true, force: true }));
  await buildOnce(directory, (partial) => fetchInto(kernel, partial));
  const manifest: Manifest = JSON.parse(readFileSync(join(directory, "kernel.json"), "utf8"));
  const root = join(directory, "root");
  const modules = join(moduleBase(root), "lib/modules", manifest.uname);
  const inBoot = join(root, "boot", `vmlinuz-${manifest.uname}`); // 7.x keeps it beside its modules
  return {
    kernel,
    uname: manifest.uname,
    version: manifest.version,
    compiler: manifest.compiler,
    root,
    vmlinuz: existsSync(inBoot) ? inBoot : join(modules, "vmlinuz"),
    modules,
  };
}

/** What is in the cache of a kernel, for --list; undefined when it has not been fetched. */
export function cachedVersion(kernel: Kernel): string | undefined {
  const path = cachePath("kernels", kernel.id, "kernel.json");
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Manifest).version : undefined;
}

/** The busybox of the lab's initramfs, static, from Debian's package. */
export async function busybox(): Promise<string> {
  const directory = cachePath("busybox");
  await buildOnce(directory, async (partial) => {
    await unpack("bookworm", await closure("bookworm", ["busybox-static"], () => false), partial);
  });
  for (const place of ["bin/busybox", "usr/bin/busybox"]) {
    if (existsSync(join(directory, place))) return join(directory, place);
  }
  throw new Unavailable(`busybox-static has no busybox: ${(await readdir(directory)).join(" ")}`);
}
