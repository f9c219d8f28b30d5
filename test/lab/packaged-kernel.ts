// SPDX-License-Identifier: Apache-2.0
// A kernel as Debian packages it: image, modules, headers and kbuild, unpacked side by side.

import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { closure, unpack } from "./apt.js";
import { buildRoot } from "./build-root.js";
import { Unavailable } from "./errors.js";
import type { KernelFiles, Manifest } from "./kernel-files.js";
import type { PackagedKernel } from "./kernels.js";

// linux-base (without a version behind it) holds only scripts for installed systems
const isKernelPart = (name: string) => /^linux-(image|binary|modules|headers|kbuild|base-[0-9])/.test(name);

/** Fetches the newest the release has and unpacks it into `directory`. */
export async function fetchKernel(kernel: PackagedKernel, directory: string): Promise<Manifest> {
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
  const uname = image.name.replace("linux-image-", "");
  // so that modprobe works in whole-root guests; where the host has no depmod they use insmod
  await execa("depmod", ["-b", moduleBase(root), uname], {
    reject: false,
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
  return { uname, version: image.version, compiler };
}

/** The directory whose lib/modules holds the modules: newer packages keep them under usr. */
function moduleBase(root: string): string {
  return existsSync(join(root, "lib/modules")) ? root : join(root, "usr");
}

/** Where things are in a directory that fetchKernel() filled. */
export function packagedFiles(kernel: PackagedKernel, directory: string, manifest: Manifest): KernelFiles {
  const root = join(directory, "root");
  const modules = join(moduleBase(root), "lib/modules", manifest.uname);
  const inBoot = join(root, "boot", `vmlinuz-${manifest.uname}`); // 7.x keeps it beside its modules
  return {
    kernel,
    ...manifest,
    vmlinuz: existsSync(inBoot) ? inBoot : join(modules, "vmlinuz"),
    modules,
    toolchain: async () => {
      const libraries = await readdir(join(root, "usr/lib"));
      const kbuild = libraries.filter((name) => name.startsWith("linux-kbuild"));
      return {
        root: await buildRoot(kernel.release, manifest.compiler),
        directory: `/usr/lib/modules/${manifest.uname}/build`,
        binds: [
          { from: join(root, "usr/src"), to: "/usr/src" },
          { from: modules, to: `/usr/lib/modules/${manifest.uname}` },
          ...kbuild.map((name) => ({ from: join(root, "usr/lib", name), to: `/usr/lib/${name}` })),
        ],
      };
    },
  };
}
