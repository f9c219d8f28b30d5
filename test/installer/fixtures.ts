// SPDX-License-Identifier: Apache-2.0
// Hosts, packages and file trees for the installer's tests.
import { createHash } from "node:crypto";
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { ExecutionContext } from "ava";
import { execa } from "execa";
import type { Checkpoint } from "../../src/installer/apply/journal.js";
import { parseKernel } from "../../src/installer/detect/kernel.js";
import type { BundleFile, HostFacts } from "../../src/installer/facts.js";
import type { Step } from "../../src/installer/plan/steps.js";
import type { HelloRun } from "../../src/installer/verify/hello.js";

export const PREFIX = "/opt/kontain";

export function bundleFile(target: string, content = target): BundleFile {
  const sha256 = createHash("sha256").update(content).digest("hex");
  return { source: `/package/${target}`, target, mode: 0o755, sha256 };
}

export function kernelFacts(release: string): HostFacts["kernel"] {
  return { ...parseKernel(release), installed: [release], newest: release };
}

/** A Debian machine with a working /dev/kvm, and nothing installed. */
export function host(changes: Partial<HostFacts> = {}): HostFacts {
  const files = [bundleFile("bin/km"), bundleFile("tests/hello_test.km")];
  return {
    platform: "linux",
    arch: "x64",
    kernel: kernelFacts("6.1.0-18-amd64"),
    distro: { id: "debian", like: [], version: "12", name: "Debian GNU/Linux 12 (bookworm)" },
    packages: "apt",
    cpu: { model: "Some processor", vendor: "GenuineIntel", virtualization: "vmx", hypervisor: false },
    memory: { totalMiB: 8000 },
    user: { uid: 1000, name: "anna", groups: ["anna"] },
    container: null,
    wsl: 0,
    cgroup: "v2",
    machine: {
      hypervisor: "none",
      vendor: "",
      product: "",
      cloud: null,
      nested: { offer: "offered", how: "in the firmware", source: "" },
    },
    security: {
      secureBoot: "off",
      lockdown: "none",
      modulesDisabled: false,
      sigEnforce: false,
      modules: true,
      key: null,
      selinux: "absent",
      apparmor: false,
    },
    build: [
      {
        release: "6.1.0-18-amd64",
        headers: "/lib/modules/6.1.0-18-amd64/build",
        compiler: "gcc 12",
        found: "gcc-12",
        mismatch: false,
        module: "absent",
      },
    ],
    missingTools: [],
    kkm: { loaded: false, group: null, dkms: null, registered: [], sources: null },
    engines: { docker: null, podman: null, containerd: null, kubelet: false },
    etc: {},
    folders: [],
    compiler: "cc 12.2",
    bundle: { version: "0.1.0", files, missing: [] },
    devices: [
      { path: "/dev/kontain", state: "absent", evidence: "no such file" },
      { path: "/dev/kvm", state: "works", evidence: "Hello, world", access: "0660 root:kvm" },
    ],
    prefix: {
      path: PREFIX,
      state: "writable",
      evidence: "can be made in /opt",
      targets: files.map((file) => ({ target: file.target, state: "absent" })),
      obsolete: [],
    },
    ...changes,
  };
}

/** What a payload that works printed. */
export const RAN: HelloRun = { works: true, command: "km hello", stdout: "Hello, world", problem: "" };

/** What a failed step said was seen: `line` without the log it kept, and what is in that. The log is removed. */
export async function takeLog(evidence = ""): Promise<{ line: string; log: string }> {
  const [all = "", path] = / \(log: (.*)\)$/.exec(evidence) ?? [];
  if (!path) return { line: evidence, log: "" };
  const log = await readFile(path, "utf8");
  await rm(dirname(path), { recursive: true });
  return { line: evidence.slice(0, -all.length), log };
}

/** Ends a test that this machine cannot run, visibly. */
export function skipped(t: ExecutionContext, why: string): void {
  t.log(`skipped: ${why}`);
  t.pass();
}

/** A folder that goes when the test ends. */
export async function temporaryFolder(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "kontain-installer-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A file system in memory, mounted on a folder that goes with the test; undefined where none can be mounted. */
export async function smallDisk(t: ExecutionContext, options: string): Promise<string | undefined> {
  const folder = await temporaryFolder(t);
  const mounted = await execa("mount", ["-t", "tmpfs", "-o", options, "tmpfs", folder], { reject: false });
  if (mounted.exitCode !== 0) return undefined;
  t.teardown(() => execa("umount", [folder]));
  return folder;
}

/** Writes files (and, for a value starting with "->", symbolic links) under `folder`. */
export async function plant(folder: string, files: Record<string, string>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    if (content.startsWith("->")) await symlink(content.slice(2), path);
    else {
      await writeFile(path, content);
      await chmod(path, 0o640);
      await utimes(path, 1_000_000_000, 1_000_000_000);
    }
  }
}

/** Everything about a tree that an uninstallation must not change, one line for each file, folder and link. */
export async function picture(folder: string, at = "."): Promise<string[]> {
  const lines: string[] = [];
  for (const name of (await readdir(join(folder, at))).sort()) {
    const path = join(folder, at, name);
    const stats = await lstat(path);
    const common = `${join(at, name)} ${stats.mode.toString(8)} ${stats.uid}:${stats.gid}`;
    if (stats.isDirectory()) lines.push(common, ...(await picture(folder, join(at, name))));
    else if (stats.isSymbolicLink()) lines.push(`${common} -> ${await readlink(path)}`);
    else {
      const hash = createHash("sha256")
        .update(await readFile(path))
        .digest("hex");
      lines.push(`${common} ${stats.ino} ${stats.mtimeMs} ${hash}`);
    }
  }
  return lines;
}

/** The same without inodes, and times in whole milliseconds: for files that are replaced or copied on the way. */
export async function contents(folder: string): Promise<string[]> {
  return (await picture(folder)).map((line) => line.replace(/^(\S+ \S+ \S+) \d+ (\d+)(\.\d+)? /, "$1 $2 "));
}

/** What a crash is played with. */
export class Crash extends Error {}

/** Throws at the n-th checkpoint. */
export function crashAt(n: number): Checkpoint {
  let count = 0;
  return () => {
    if (++count === n) throw new Crash();
  };
}

/** A host in a folder, and steps that change it. */
export interface World {
  root: string;
  prefix: string;
  steps: Step[];
  before: string[];
}
