// SPDX-License-Identifier: Apache-2.0
// What building the module takes: headers of each kernel, the compiler each was built with, and tools.
import { createHash } from "node:crypto";
import { join } from "node:path";
import { exists, type Host } from "../../base/host.js";
import type { BundleFile, KernelBuildFacts } from "../facts.js";
import { DKMS_SOURCE, DKMS_STATE, DKMS_VERSION } from "../kkm-scripts.js";

const TOOLS = ["make", "ld", "objdump"] as const;

/** Reads the name and major version out of a compiler's version line, as CONFIG_CC_VERSION_TEXT has it. */
export function parseCompiler(text: string): { family: "gcc" | "clang"; major: number } | undefined {
  const family = /clang/i.test(text) ? "clang" : "gcc";
  const bare = text.replace(/\([^()]*\)/g, " ");
  const major = /(\d+)\.\d+/.exec(bare)?.[1] ?? /(\d+)\.\d+/.exec(text)?.[1];
  return major ? { family, major: Number(major) } : undefined;
}

async function kernelCompiler(host: Host, headers: string) {
  for (const name of ["include/config/auto.conf", ".config"]) {
    const text = (await host.readFile(join(headers, name))) ?? "";
    const line = /^CONFIG_CC_VERSION_TEXT="(.*)"$/m.exec(text)?.[1];
    if (line) return parseCompiler(line);
    const gcc = /^CONFIG_GCC_VERSION=(\d+)$/m.exec(text)?.[1];
    if (gcc && gcc !== "0") return { family: "gcc" as const, major: Math.floor(Number(gcc) / 10000) };
  }
  return undefined;
}

async function findCompiler(host: Host, wanted: { family: string; major: number } | undefined) {
  const names = wanted ? [`${wanted.family}-${wanted.major}`, wanted.family] : ["gcc"];
  let other: string | null = null;
  for (const name of names) {
    if (!(await host.which(name))) continue;
    const version = (await host.run(name, "-dumpversion"))?.stdout.trim().split(".")[0];
    if (!wanted || Number(version) === wanted.major) return { found: name, mismatch: false };
    other ??= name;
  }
  return { found: other, mismatch: other !== null };
}

/** What identifies the module's sources: changes when any of them does. */
export function sourceStamp(files: BundleFile[]): string {
  const lines = files
    .filter(({ target }) => target.startsWith("kkm/"))
    .map(({ target, sha256 }) => `${target} ${sha256}\n`);
  return createHash("sha256").update(lines.sort().join("")).digest("hex").slice(0, 16);
}

/** Where DKMS puts modules: on Debian and its kin, on Fedora and its kin, on SUSE. */
const DKMS_PLACES = ["updates/dkms", "extra", "updates"];

/** What DKMS installed for a kernel. It compresses modules where the kernel's own are. */
async function dkmsState(host: Host, release: string, stamp: string) {
  const active = await host.readLink(`${DKMS_STATE}/kernel-${release}-x86_64`);
  if (!active) return "absent";
  const folders = await Promise.all(
    DKMS_PLACES.map((place) => host.readDir(`/lib/modules/${release}/${place}`)),
  );
  const there = folders.some((names) => names?.some((name) => /^kkm\.ko(\.(xz|zst|gz))?$/.test(name)));
  if (!there) return "absent";
  const sources = (await host.readFile(`${DKMS_SOURCE}/stamp`))?.trim();
  return active.startsWith(`${DKMS_VERSION}/`) && sources === stamp ? "current" : "outdated";
}

async function moduleState(host: Host, release: string, prefix: string, stamp: string) {
  const byDkms = await dkmsState(host, release, stamp);
  if (byDkms !== "absent") return byDkms;
  if (!(await exists(host, `/lib/modules/${release}/updates/kkm.ko`))) return "absent";
  const built = (await host.readFile(join(prefix, "kkm/built", release)))?.trim();
  return built === stamp ? "current" : "outdated";
}

async function buildFacts(
  host: Host,
  release: string,
  prefix: string,
  stamp: string,
): Promise<KernelBuildFacts> {
  const folder = `/lib/modules/${release}/build`;
  const there =
    (await exists(host, join(folder, "Makefile"))) &&
    (await exists(host, join(folder, "include/generated/autoconf.h")));
  const wanted = there ? await kernelCompiler(host, folder) : undefined;
  return {
    release,
    headers: there ? folder : null,
    compiler: wanted ? `${wanted.family} ${wanted.major}` : null,
    ...(await findCompiler(host, wanted)),
    module: await moduleState(host, release, prefix, stamp),
  };
}

/** @param releases kernels to look at, @param stamp of the sources this package has */
export function detectBuild(host: Host, releases: string[], prefix: string, stamp: string) {
  return Promise.all([...new Set(releases)].map((release) => buildFacts(host, release, prefix, stamp)));
}

export async function missingTools(host: Host): Promise<string[]> {
  const there = await Promise.all(TOOLS.map((tool) => host.which(tool)));
  return TOOLS.filter((_, index) => !there[index]);
}
