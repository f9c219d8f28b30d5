// SPDX-License-Identifier: Apache-2.0
// Compiles a kernel of our own configuration from Debian's source package, for what no packaged kernel has: KASAN,
// lockdep and their like. It takes tens of minutes, so it is done only when asked for (`lab fetch --kernel ID`).

import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { type Package, show, unpack } from "./apt.js";
import { type Bind, buildRoot, runInBuildRoot } from "./build-root.js";
import { buildOnce, cachePath } from "./cache.js";
import { Unavailable } from "./errors.js";
import type { KernelFiles, Manifest } from "./kernel-files.js";
import type { BuiltKernel } from "./kernels.js";
import { projectRoot } from "./paths.js";

/** Where the trees are seen in the build root. */
const sourceInRoot = "/usr/src/linux";
const buildInRoot = "/usr/src/linux-build";

const buildTools = [
  "bison",
  "flex",
  "bc",
  "libelf-dev",
  "libssl-dev",
  "zlib1g-dev",
  "python3-minimal",
  "lz4",
  "rsync",
];

function toolRoot(kernel: BuiltKernel): Promise<string> {
  return buildRoot(kernel.release, kernel.compiler, { name: "full", packages: buildTools });
}

/** Where the trees are. They outlive an interrupted build, which then goes on where it was. */
interface Trees {
  readonly source: string;
  readonly build: string;
}

function trees(kernel: BuiltKernel, version: string): Trees {
  const name = `${kernel.source}-${version}`;
  return { source: cachePath("sources", name), build: cachePath("kernel-builds", `${kernel.id}-${version}`) };
}

function treeBinds({ source, build }: Trees): Bind[] {
  return [
    { from: source, to: sourceInRoot },
    { from: build, to: buildInRoot },
  ];
}

async function unpackSource(kernel: BuiltKernel, package_: Package, directory: string): Promise<void> {
  const packed = `${directory}/packed`;
  await unpack(kernel.release, [package_], packed);
  const archive = (await readdir(join(packed, "usr/src"))).find((name) => name.endsWith(".tar.xz"));
  if (!archive) throw new Unavailable(`${kernel.source} holds no archive of the sources`);
  const from = join(packed, "usr/src", archive);
  await execa("tar", ["-xf", from, "-C", directory, "--strip-components=1"]);
  await rm(packed, { recursive: true });
}

/** The lines of a fragment that the finished configuration does not have. */
export function unmetOptions(fragment: string, config: string): string[] {
  const has = new Set(config.split("\n"));
  const wanted = fragment.split("\n").filter((line) => line.startsWith("CONFIG_"));
  return wanted.filter((line) => {
    if (!line.endsWith("=n")) return !has.has(line);
    return config.includes(`\n${line.slice(0, -1)}y`) || config.includes(`\n${line.slice(0, -1)}m`);
  });
}

/**
 * Builds the kernel into `directory`: vmlinuz and modules/.
 * @throws Error when the configuration cannot be had as written, or make fails
 */
export async function buildKernel(kernel: BuiltKernel, directory: string): Promise<Manifest> {
  const root = await toolRoot(kernel);
  const package_ = await show(kernel.release, kernel.source);
  const { version } = package_;
  const { source, build } = trees(kernel, version);
  await buildOnce(source, (partial) => unpackSource(kernel, package_, partial));
  await mkdir(build, { recursive: true });
  await mkdir(join(directory, "modules/kernel"), { recursive: true });
  const fragment = await readFile(join(projectRoot, kernel.config), "utf8");
  await writeFile(join(build, "lab.config"), fragment);
  const make = async (...args: string[]) => {
    const command = [
      "nice",
      "make",
      "-C",
      sourceInRoot,
      `O=${buildInRoot}`,
      `CC=${kernel.compiler}`,
      ...args,
    ];
    const result = await runInBuildRoot(root, treeBinds({ source, build }), command);
    if (result.exitCode === 0) return;
    throw new Error(`make ${args.join(" ")}: ${result.output.split("\n").slice(-15).join("\n")}`);
  };
  await make(`KCONFIG_ALLCONFIG=${buildInRoot}/lab.config`, "allnoconfig");
  const unmet = unmetOptions(fragment, await readFile(join(build, ".config"), "utf8"));
  if (unmet.length > 0) throw new Error(`${kernel.config}: the kernel does not take ${unmet.join(", ")}`);
  await make(`-j${availableParallelism()}`, "bzImage", "modules");
  await copyFile(join(build, "arch/x86/boot/bzImage"), join(directory, "vmlinuz"));
  await copyFile(join(build, "modules.builtin"), join(directory, "modules/modules.builtin"));
  const uname = (await readFile(join(build, "include/config/kernel.release"), "utf8")).trim();
  return { version, uname, compiler: kernel.compiler };
}

/** Where things are in a directory that buildKernel() filled. */
export function builtFiles(kernel: BuiltKernel, directory: string, manifest: Manifest): KernelFiles {
  return {
    kernel,
    ...manifest,
    vmlinuz: join(directory, "vmlinuz"),
    modules: join(directory, "modules"),
    toolchain: async () => ({
      root: await toolRoot(kernel),
      directory: buildInRoot,
      binds: treeBinds(trees(kernel, manifest.version)),
    }),
  };
}
