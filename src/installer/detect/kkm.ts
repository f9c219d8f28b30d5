// SPDX-License-Identifier: Apache-2.0
import type { Host } from "../../base/host.js";
import type { KkmFacts } from "../facts.js";
import { DKMS_SOURCE, DKMS_STATE } from "../kkm-scripts.js";

/** Members of a group of /etc/group; null: there is none of this name. */
export function membersOf(group: string, text: string): string[] | null {
  const line = text.split("\n").find((row) => row.startsWith(`${group}:`));
  return line ? (line.split(":")[3] ?? "").split(",").filter(Boolean) : null;
}

/** Beside the versions DKMS keeps links to what is active, and modules that were there before. */
async function registeredVersions(host: Host): Promise<string[]> {
  const names = (await host.readDir(DKMS_STATE)) ?? [];
  return names.filter((name) => /^\d[\w.+~-]*$/.test(name));
}

export async function detectKkm(host: Host): Promise<KkmFacts> {
  const modules = (await host.readFile("/proc/modules")) ?? "";
  return {
    loaded: /^kkm /m.test(modules),
    group: membersOf("kkm", (await host.readFile("/etc/group")) ?? ""),
    dkms: (await host.which("dkms")) ?? null,
    registered: await registeredVersions(host),
    sources: (await host.readFile(`${DKMS_SOURCE}/stamp`))?.trim() ?? null,
  };
}
