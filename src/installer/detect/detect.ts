// SPDX-License-Identifier: Apache-2.0
// Looks at the host and changes nothing (the payload runs, and leaves nothing behind).
import { constants } from "node:fs";
import { access, readFile, stat } from "node:fs/promises";
import { arch, platform, release, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { lstatIfThere, sha256 } from "../../base/files.js";
import { readJournal, standing } from "../apply/journal.js";
import { HELLO, MONITOR, readBundle } from "../bundle.js";
import {
  type BundleFile,
  DEVICE_SEARCH,
  type HostFacts,
  type PrefixFacts,
  type TargetFacts,
  type Wishes,
} from "../facts.js";
import { detectDevice } from "./device.js";

/** "6.1.0-18-cloud-amd64" -> 6, 1. Kernel releases are not semver: only the first two numbers mean the same everywhere. */
export function parseKernel(text: string): HostFacts["kernel"] {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(text) ?? [];
  return { release: text, major: Number(major ?? 0), minor: Number(minor ?? 0) };
}

/** Reads os-release(5). */
export function parseOsRelease(text: string): HostFacts["distro"] {
  const value = (key: string) => {
    const line = text.split("\n").find((row) => row.startsWith(`${key}=`));
    return line?.slice(key.length + 1).replace(/^(["'])(.*)\1$/, "$2") ?? "";
  };
  return {
    id: value("ID") || "unknown",
    version: value("VERSION_ID"),
    name: value("PRETTY_NAME") || "unknown",
  };
}

/** Reads the first processor of /proc/cpuinfo. */
export function parseCpu(text: string): HostFacts["cpu"] {
  const field = (name: string) => new RegExp(`^${name}\\s*: (.*)$`, "m").exec(text)?.[1] ?? "";
  const flags = field("flags").split(" ");
  const virtualization = flags.includes("vmx") ? "vmx" : flags.includes("svm") ? "svm" : "none";
  return { model: field("model name") || "unknown", virtualization };
}

function user(): HostFacts["user"] {
  const uid = process.getuid?.() ?? -1;
  try {
    return { uid, name: userInfo().username };
  } catch {
    // A uid without an entry in /etc/passwd, as containers have.
    return { uid, name: String(uid) };
  }
}

async function compiler(): Promise<string | null> {
  const result = await execa("cc", ["--version"], { reject: false, stdin: "ignore" });
  return result.exitCode === 0 ? (result.stdout.split("\n")[0] ?? null) : null;
}

async function targetFacts(
  prefix: string,
  file: BundleFile,
  ours: Map<string, string>,
): Promise<TargetFacts> {
  const path = join(prefix, file.target);
  const there = await lstatIfThere(path);
  if (!there) return { target: file.target, state: "absent" };
  if (!there.isFile() && !there.isSymbolicLink()) return { target: file.target, state: "not-a-file" };
  if (!there.isFile()) return { target: file.target, state: "foreign" };
  const hash = await sha256(path);
  if (hash === file.sha256 && (there.mode & 0o7777) === file.mode)
    return { target: file.target, state: "same" };
  return { target: file.target, state: ours.get(path) === hash ? "outdated" : "foreign" };
}

async function prefixState(path: string): Promise<Pick<PrefixFacts, "state" | "evidence">> {
  let nearest = path;
  while (!(await lstatIfThere(nearest))) nearest = dirname(nearest);
  const there = await stat(nearest).catch(() => undefined);
  if (!there?.isDirectory()) return { state: "not-a-folder", evidence: `${nearest} is not a folder` };
  try {
    await access(nearest, constants.W_OK | constants.X_OK);
    return { state: "writable", evidence: nearest === path ? "exists" : `can be made in ${nearest}` };
  } catch {
    return { state: "denied", evidence: `no permission to write in ${nearest}` };
  }
}

async function detectPrefix(path: string, files: BundleFile[]): Promise<PrefixFacts> {
  const records = (await readJournal(path)) ?? [];
  const ours = new Map<string, string>();
  for (const { step } of standing(records)) {
    if (step.kind === "file") ours.set(step.path, step.sha256);
    else if (step.kind === "remove") ours.delete(step.path);
  }
  const wanted = new Set(files.map((file) => join(path, file.target)));
  const obsolete: string[] = [];
  for (const target of ours.keys()) {
    if (!wanted.has(target) && (await lstatIfThere(target))) obsolete.push(target.slice(path.length + 1));
  }
  const targets = await Promise.all(files.map((file) => targetFacts(path, file, ours)));
  const verified = records.findLast((record) => record.type === "verified")?.version;
  return { path, ...(await prefixState(path)), targets, obsolete, ...(verified ? { verified } : {}) };
}

async function detectDevices(wishes: Wishes, files: BundleFile[]) {
  const built = (target: string) => files.find((file) => file.target === target)?.source;
  const [monitor, hello] = [built(MONITOR), built(HELLO)];
  const proof = monitor && hello ? { monitor, hello } : undefined;
  const devices = [];
  for (const path of wishes.device ? [wishes.device] : DEVICE_SEARCH) {
    const facts = await detectDevice(path, proof);
    devices.push(facts);
    if (facts.state === "works") break;
  }
  return devices;
}

/** Everything plan() needs to know about this host. */
export async function detect(wishes: Wishes): Promise<HostFacts> {
  const bundle = await readBundle();
  return {
    platform: platform(),
    arch: arch(),
    kernel: parseKernel(release()),
    distro: parseOsRelease(await readFile("/etc/os-release", "utf8").catch(() => "")),
    cpu: parseCpu(await readFile("/proc/cpuinfo", "utf8").catch(() => "")),
    user: user(),
    compiler: await compiler(),
    bundle,
    devices: await detectDevices(wishes, bundle.files),
    prefix: await detectPrefix(wishes.prefix, bundle.files),
  };
}
