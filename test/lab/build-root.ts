// SPDX-License-Identifier: Apache-2.0
// A Debian release's toolchain in the cache, entered by chroot: a kernel's modules want the compiler and the kbuild
// programs of about its own age, not the host's.

import { lstatSync } from "node:fs";
import { chmod, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { installation, unpack } from "./apt.js";
import { buildOnce, cachePath } from "./cache.js";
import { Unavailable } from "./errors.js";
import type { ReleaseName } from "./kernels.js";

const tools = [
  "base-files",
  "coreutils",
  "dash",
  "bash",
  "make",
  "mawk",
  "sed",
  "grep",
  "findutils",
  "diffutils",
];
const kbuildNeeds = ["perl-base", "xz-utils", "kmod", "sparse", "libc6-dev"];
/** What linux-kbuild's programs are linked with and call. */
const kbuildUses: Record<ReleaseName, readonly string[]> = {
  bullseye: ["libelf1", "libssl1.1", "zlib1g"],
  bookworm: ["libelf1", "libssl3", "zlib1g"],
  trixie: ["libelf1t64", "libssl3t64", "zlib1g", "pahole"],
  sid: ["libelf1t64", "libssl3t64", "zlib1g", "pahole"],
};

/** A host directory seen inside the root. */
export interface Bind {
  readonly from: string;
  readonly to: string;
}

async function fill(
  release: ReleaseName,
  packages: readonly string[],
  compiler: string,
  root: string,
): Promise<void> {
  const names = [...tools, ...kbuildNeeds, ...kbuildUses[release], ...packages, compiler];
  await unpack(release, await installation(release, names), root);
  // packages are unpacked without their scripts, so what those would set up is set up here: merged /usr, sh, awk, cc
  for (const name of ["bin", "sbin", "lib", "lib64"]) {
    await mkdir(join(root, "usr", name), { recursive: true });
    const there = lstatSync(join(root, name), { throwIfNoEntry: false });
    if (there?.isSymbolicLink()) continue; // newer base-files bring the link themselves
    if (there) {
      await execa("cp", ["-a", `${join(root, name)}/.`, join(root, "usr", name)]);
      await rm(join(root, name), { recursive: true });
    }
    await symlink(`usr/${name}`, join(root, name));
  }
  await symlink("mawk", join(root, "usr/bin/awk"));
  for (const name of ["gcc", "cc"]) await symlink(compiler, join(root, "usr/bin", name)).catch(() => {});
  for (const name of ["proc", "dev", "build", "tmp"]) await mkdir(join(root, name), { recursive: true });
  await chmod(join(root, "tmp"), 0o1777);
  await writeFile(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
}

/** What a root has beyond the needs of a module's build; `name` tells it from others of the release. */
export interface RootExtras {
  readonly name: string;
  readonly packages: readonly string[];
}

/** The root directory of a release's toolchain with `compiler`, made on first use. */
export function buildRoot(release: ReleaseName, compiler: string, extras?: RootExtras): Promise<string> {
  const name = [release, compiler, ...(extras ? [extras.name] : [])].join("-");
  return buildOnce(cachePath("build-roots", name), (root) =>
    fill(release, extras?.packages ?? [], compiler, root),
  );
}

export interface ChrootResult {
  readonly exitCode: number;
  /** Standard output and error, interleaved. */
  readonly output: string;
}

// $1 is the root, then pairs FROM TO until --, then the command; mounts vanish with the mount namespace
const enter = `
set -e
root=$1; shift
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
  mkdir -p "$root$2"
  mount --bind "$1" "$root$2"
  shift 2
done
shift
exec chroot "$root" "$@"
`;

/** Runs a command in a build root with `binds` in place. Without root it takes a user namespace of its own. */
export async function runInBuildRoot(
  root: string,
  binds: readonly Bind[],
  command: readonly string[],
): Promise<ChrootResult> {
  const namespace = process.getuid?.() === 0 ? ["--mount"] : ["--mount", "--user", "--map-root-user"];
  const pairs = binds.flatMap(({ from, to }) => [from, to]);
  const args = [...namespace, "sh", "-c", enter, "enter", root, ...pairs, "--", ...command];
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/", LC_ALL: "C" };
  const result = await execa("unshare", args, {
    env,
    extendEnv: false,
    reject: false,
    all: true,
    stdin: "ignore",
  });
  if (result.signal) throw new Error(`${command[0]} in the build root was ended by ${result.signal}`);
  if (result.exitCode === undefined)
    throw new Unavailable(`cannot enter the build root: ${result.shortMessage}`);
  return { exitCode: result.exitCode, output: result.all };
}
