// SPDX-License-Identifier: Apache-2.0
// Looks at the host and changes nothing (the payload runs, and leaves nothing behind).
import { readFile } from "node:fs/promises";
import { arch, platform, release, userInfo } from "node:os";
import { execa } from "execa";
import { HELLO, MONITOR, readBundle } from "../bundle.js";
import { type BundleFile, DEVICE_SEARCH, type HostFacts, type Wishes } from "../facts.js";
import { detectDevice } from "./device.js";
import { detectPrefix } from "./prefix.js";

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
