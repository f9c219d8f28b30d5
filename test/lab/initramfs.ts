// SPDX-License-Identifier: Apache-2.0
// Puts a guest's initramfs together: busybox, init.sh, the agent, kernel modules in load order, the suite's files.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { busybox } from "./busybox.js";
import { type ArchiveEntry, cpioArchive } from "./cpio.js";
import type { GuestOptions, GuestStyle } from "./guest.js";
import type { KernelFiles } from "./kernel-files.js";
import { moduleClosure } from "./modules.js";
import { labDirectory } from "./paths.js";
import { staticProgram } from "./programs.js";

/** A file for /run/kontain-lab/suite in the guest. */
export interface GuestFile {
  /** Path below that directory. */
  readonly path: string;
  /** Where it is on the host. */
  readonly source: string;
  readonly executable?: boolean;
}

const agent = { name: "agent", sources: ["test/lab/guest/agent.c"] };
const portModules = ["virtio_pci", "virtio_console"];
const rootModules = ["9pnet_virtio", "9p", "overlay"];
const kvmModules = ["kvm", "kvm-amd"];

export async function buildInitramfs(
  files: KernelFiles,
  style: GuestStyle,
  options: GuestOptions,
): Promise<Buffer> {
  const wanted = [
    ...portModules,
    ...(style === "root" ? rootModules : []),
    ...((options.kvm ?? true) ? kvmModules : []),
    ...(options.modules ?? []),
  ];
  const modules = await moduleClosure(files.modules, wanted);
  const entries: ArchiveEntry[] = [
    { path: "init", mode: 0o755, data: await readFile(join(labDirectory, "guest/init.sh")) },
    { path: "bin/busybox", mode: 0o755, data: await readFile(await busybox()) },
    {
      path: "lab/agent",
      mode: 0o755,
      data: await readFile(await staticProgram(agent)),
    },
    { path: "lab/config", mode: 0o644, data: Buffer.from(`STYLE=${style}\n`) },
    { path: "lab/suite/.keep", mode: 0o644, data: Buffer.alloc(0) },
  ];
  modules.forEach(({ name, data }, at) => {
    entries.push({ path: `lab/modules/${String(at).padStart(3, "0")}-${name}.ko`, mode: 0o644, data });
  });
  for (const { path, source, executable } of options.files ?? []) {
    entries.push({
      path: `lab/suite/${path}`,
      mode: executable ? 0o755 : 0o644,
      data: await readFile(source),
    });
  }
  return cpioArchive(entries);
}
