// SPDX-License-Identifier: Apache-2.0
// Distribution, processor, container, WSL, control groups, security modules: what plain text files tell.
import { exists, type Host } from "../../base/host.js";
import type { HostFacts, SecurityFacts } from "../facts.js";

/** Reads os-release(5). */
export function parseOsRelease(text: string): HostFacts["distro"] {
  const value = (key: string) => {
    const line = text.split("\n").find((row) => row.startsWith(`${key}=`));
    return line?.slice(key.length + 1).replace(/^(["'])(.*)\1$/, "$2") ?? "";
  };
  return {
    id: value("ID") || "unknown",
    like: value("ID_LIKE").split(" ").filter(Boolean),
    version: value("VERSION_ID"),
    name: value("PRETTY_NAME") || "unknown",
  };
}

/** Reads the first processor of /proc/cpuinfo. */
export function parseCpu(text: string): HostFacts["cpu"] {
  const field = (name: string) => new RegExp(`^${name}[ \\t]*: (.*)$`, "m").exec(text)?.[1]?.trim() ?? "";
  const flags = field("flags").split(" ");
  return {
    model: field("model name") || "unknown",
    vendor: field("vendor_id") || "unknown",
    virtualization: flags.includes("vmx") ? "vmx" : flags.includes("svm") ? "svm" : "none",
    hypervisor: flags.includes("hypervisor"),
  };
}

export async function detectDistro(host: Host): Promise<HostFacts["distro"]> {
  const text = (await host.readFile("/etc/os-release")) ?? (await host.readFile("/usr/lib/os-release"));
  return parseOsRelease(text ?? "");
}

/** Package managers, the one that installs best first. */
export const PACKAGE_MANAGERS = ["apt", "dnf", "yum", "zypper", "pacman"] as const;
const MANAGER_PROGRAM: Partial<Record<(typeof PACKAGE_MANAGERS)[number], string>> = { apt: "apt-get" };

export async function detectPackages(host: Host): Promise<HostFacts["packages"]> {
  for (const name of PACKAGE_MANAGERS) if (await host.which(MANAGER_PROGRAM[name] ?? name)) return name;
  return null;
}

/** The machine's own namespaces have fixed numbers (include/linux/proc_ns.h). */
const FIRST_NAMESPACES = { pid: "pid:[4026531836]", cgroup: "cgroup:[4026531835]" };

/** Machines are made from container images, marks and all: processes in the first namespaces are in no container. */
async function inFirstNamespaces(host: Host): Promise<boolean> {
  const names = await Promise.all(
    Object.keys(FIRST_NAMESPACES).map((kind) => host.readLink(`/proc/self/ns/${kind}`)),
  );
  return Object.values(FIRST_NAMESPACES).every((name, at) => names[at] === name);
}

/** What container this process is in, or null. Files and variables that runtimes leave; systemd's own mark first. */
export async function detectContainer(host: Host): Promise<string | null> {
  if (await inFirstNamespaces(host)) return null;
  const said = (await host.readFile("/run/systemd/container"))?.trim();
  if (said) return said;
  if (await exists(host, "/run/secrets/kubernetes.io")) return "kubernetes";
  if (await exists(host, "/.dockerenv")) return "docker";
  if (await exists(host, "/run/.containerenv")) return "podman";
  const init = await host.readFile("/proc/1/environ");
  const variable = init
    ?.split("\0")
    .find((row) => row.startsWith("container="))
    ?.slice("container=".length);
  if (variable) return variable;
  const groups = (await host.readFile("/proc/1/cgroup")) ?? "";
  const found = /(?:^|\/)(docker|kubepods|lxc|libpod|containerd)[-/.]/m.exec(groups)?.[1];
  return found === "kubepods" ? "kubernetes" : found === "libpod" ? "podman" : (found ?? null);
}

/** WSL's generation by its kernel's name; 0 elsewhere. */
export function wslOf(release: string, version: string): 0 | 1 | 2 {
  const text = `${release} ${version}`;
  if (!/microsoft/i.test(text)) return 0;
  // Azure's own kernels say neither.
  return /WSL2|microsoft-standard/i.test(text) ? 2 : /Microsoft@Microsoft\.com|-Microsoft/.test(text) ? 1 : 0;
}

/** Which control groups are mounted, from /proc/mounts. */
export function parseCgroup(mounts: string): HostFacts["cgroup"] {
  const types = mounts.split("\n").map((line) => line.split(" ")[2]);
  const [one, two] = [types.includes("cgroup"), types.includes("cgroup2")];
  return one && two ? "hybrid" : two ? "v2" : one ? "v1" : "none";
}

export async function detectSelinux(host: Host): Promise<SecurityFacts["selinux"]> {
  const enforce = (await host.readFile("/sys/fs/selinux/enforce"))?.trim();
  if (enforce !== undefined) return enforce === "1" ? "enforcing" : "permissive";
  return (await exists(host, "/etc/selinux/config")) ? "disabled" : "absent";
}

export async function detectApparmor(host: Host): Promise<boolean> {
  return (await host.readFile("/sys/module/apparmor/parameters/enabled"))?.trim() === "Y";
}

export function parseMemory(meminfo: string): HostFacts["memory"] {
  return { totalMiB: Math.round(Number(/^MemTotal:\s+(\d+) kB/m.exec(meminfo)?.[1] ?? 0) / 1024) };
}
