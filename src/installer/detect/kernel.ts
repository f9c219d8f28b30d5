// SPDX-License-Identifier: Apache-2.0
// Kernel releases. They are not semantic versions: distributions put builds, clouds and flavours behind the numbers, and
// only the order of the number groups means the same everywhere.
import { exists, type Host } from "../../base/host.js";
import type { KernelRelease } from "../facts.js";

/**
 * Takes a release apart. Never fails: what is no release has the numbers 0.0.0.
 * "6.11.0-061100rc7-generic" (Ubuntu's mainline builds) and "7.0-rc3" are candidates.
 */
export function parseKernel(text: string): KernelRelease {
  const release = text.trim();
  const [, major, minor, patch, rest = ""] = /^(\d+)\.(\d+)(?:\.(\d+))?(.*)$/s.exec(release) ?? [];
  const rc = /(?:^|[-.\d])rc(\d+)/.exec(rest)?.[1];
  // The flavour begins at the first group that starts with a letter and is neither a distribution nor a candidate.
  const words = rest
    .split("-")
    .filter((word) => /^[a-z]/i.test(word) && !/^(rc\d+|el\d|fc\d|amzn|deb\d|arch\d)/.test(word));
  return {
    release,
    major: Number(major ?? 0),
    minor: Number(minor ?? 0),
    patch: Number(patch ?? 0),
    rc: Number(rc ?? 0),
    flavour: words.join("-"),
  };
}

/** Runs of digits as numbers, runs of letters as words; what stands between only separates. */
function segments(text: string): (number | string)[] {
  return [...text.matchAll(/\d+|[a-z]+/gi)].map(([part]) => (/^\d/.test(part) ? Number(part) : part));
}

function compareSegments(a: number | string | undefined, b: number | string | undefined): number {
  if (a === b) return 0;
  if (a === undefined) return -1;
  if (b === undefined) return 1;
  // As dpkg and rpm have it: a number is newer than a word.
  if (typeof a !== typeof b) return typeof a === "number" ? 1 : -1;
  return a < b ? -1 : 1;
}

/** Negative when `a` is older than `b`. A candidate is older than its release. */
export function compareKernels(a: string, b: string): number {
  const [one, two] = [parseKernel(a), parseKernel(b)];
  const numbers = one.major - two.major || one.minor - two.minor || one.patch - two.patch;
  if (numbers !== 0) return numbers;
  const candidate = (kernel: KernelRelease) => (kernel.rc === 0 ? Number.MAX_SAFE_INTEGER : kernel.rc);
  if (one.rc !== two.rc) return candidate(one) - candidate(two);
  const [left, right] = [segments(one.release), segments(two.release)];
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const order = compareSegments(left[at], right[at]);
    if (order !== 0) return order;
  }
  return one.release === two.release ? 0 : one.release < two.release ? -1 : 1;
}

/** Whether the kernel is at least major.minor. */
export function atLeast(
  kernel: Pick<KernelRelease, "major" | "minor">,
  major: number,
  minor: number,
): boolean {
  return kernel.major > major || (kernel.major === major && kernel.minor >= minor);
}

/** Kernels that can be booted: they have an image, in /boot or (newer layouts) beside their modules. */
export async function installedKernels(host: Host): Promise<string[]> {
  const boot = (await host.readDir("/boot")) ?? [];
  const images = boot.flatMap((name) => /^vmlinuz-(\d.*)$/.exec(name)?.[1] ?? []);
  const folders = (await host.readDir("/lib/modules")) ?? [];
  const own = await Promise.all(
    folders.map(async (name) => ((await exists(host, `/lib/modules/${name}/vmlinuz`)) ? name : undefined)),
  );
  const found = [...images, ...own.filter((name) => name !== undefined)];
  const wanted = found.filter(
    (name) => !/(-rescue-|\.old$|\.bak$)/.test(name) && /^\d+\.\d+[\w.+~-]*$/.test(name),
  );
  return [...new Set(wanted)].sort(compareKernels);
}

/** The kernel the next boot is likely to take: the newest installed of the running one's flavour, else the newest. */
export function newestKernel(running: string, installed: string[]): string {
  const { flavour } = parseKernel(running);
  const same = installed.filter((release) => parseKernel(release).flavour === flavour);
  const newest = (same.length > 0 ? same : installed).at(-1);
  return newest ?? running;
}
