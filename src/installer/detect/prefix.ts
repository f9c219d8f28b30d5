// SPDX-License-Identifier: Apache-2.0
// The place of an installation: whether it can be written, and what stands where our files go.
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { lstatIfThere, sha256 } from "../../base/files.js";
import { readJournal, standing } from "../apply/journal.js";
import type { BundleFile, PrefixFacts, TargetFacts } from "../facts.js";

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

/** Looks at `path` as the prefix of an installation of `files`. */
export async function detectPrefix(path: string, files: BundleFile[]): Promise<PrefixFacts> {
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
