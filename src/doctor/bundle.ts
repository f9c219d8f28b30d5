// SPDX-License-Identifier: Apache-2.0
// The support archive: results and facts, gzip-ed JSON. Only what the checks read goes in, and of that nothing that names
// a person or machine or may hold a secret.
import { hostname } from "node:os";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { putFile } from "../base/files.js";
import type { HostFacts } from "../installer/facts.js";
import type { Context } from "./check.js";
import type { Result } from "./run.js";

/** Facts without contents of configuration files (daemon.json may hold proxies with passwords), names and members. */
function withoutSecrets(facts: HostFacts): unknown {
  const { etc, user, kkm, bundle, prefix, ...rest } = facts;
  return {
    ...rest,
    user: { root: user.uid === 0 },
    kkm: { ...kkm, group: kkm.group === null ? null : kkm.group.length },
    etc: Object.fromEntries(
      Object.entries(etc).map(([path, text]) => [path, text === null ? "absent" : "present"]),
    ),
    bundle: { version: bundle.version, missing: bundle.missing },
    prefix: { state: prefix.state, verified: prefix.verified ?? null, free: prefix.free ?? null },
  };
}

/** Words that name this machine or its user, longest first so that no part of one is left. */
function privateWords({ host, env }: Context): string[] {
  const words = [host.user.name, host.user.sudo ?? "", hostname(), env.HOME ?? ""];
  return words
    .filter((word) => word.length > 2 && word !== "root" && word !== "/root")
    .sort((a, b) => b.length - a.length);
}

/** The archive's text. */
export async function bundleText(context: Context, results: readonly Result[]): Promise<string> {
  const { default: information } = await import("systeminformation");
  const [memory, load] = await Promise.all([information.mem(), information.currentLoad()]);
  const display = { memoryFree: memory.available, swap: memory.swaptotal, cpus: load.cpus.length };
  const text = JSON.stringify({ format: 1, results, facts: withoutSecrets(context.facts), display }, null, 1);
  return privateWords(context).reduce((left, word) => left.replaceAll(word, "REMOVED"), text);
}

/** Writes the archive, readable by its owner only. */
export async function writeBundle(path: string, context: Context, results: readonly Result[]): Promise<void> {
  const packed = await promisify(gzip)(await bundleText(context, results));
  await putFile(path, 0o600, (handle) => handle.writeFile(packed));
}
