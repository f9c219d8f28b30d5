// SPDX-License-Identifier: Apache-2.0
// The place of an installation: whether it can be written, and what stands where our files go.
import { constants } from "node:fs";
import { access, readdir, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { lstatIfThere, sha256 } from "../../base/files.js";
import { JournalError, type JournalRecord, readJournal, standing } from "../apply/journal.js";
import type { BundleFile, PrefixFacts, TargetFacts } from "../facts.js";
import type { Problem } from "../reasons.js";

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

/** Bytes this user may still write in the file system of `folder`. */
async function freeBytes(folder: string): Promise<number | undefined> {
  const stats = await statfs(folder).catch(() => undefined);
  return stats ? stats.bavail * stats.bsize : undefined;
}

async function holdsFiles(path: string): Promise<boolean> {
  return ((await readdir(path).catch(() => undefined)) ?? []).length > 0;
}

async function prefixState(path: string): Promise<Pick<PrefixFacts, "state" | "evidence" | "free">> {
  let nearest = path;
  while (!(await lstatIfThere(nearest))) nearest = dirname(nearest);
  const there = await stat(nearest).catch(() => undefined);
  if (!there?.isDirectory()) return { state: "not-a-folder", evidence: `${nearest} is not a folder` };
  if (process.geteuid?.() === 0 && there.uid !== 0) {
    const evidence = `${nearest} belongs to user ${there.uid}, who could exchange what root runs there`;
    return { state: "denied", evidence };
  }
  try {
    await access(nearest, constants.W_OK | constants.X_OK);
    const free = await freeBytes(nearest);
    const evidence = nearest === path ? "exists" : `can be made in ${nearest}`;
    return { state: "writable", evidence, ...(free === undefined ? {} : { free }) };
  } catch {
    return { state: "denied", evidence: `no permission to write in ${nearest}` };
  }
}

async function journalOf(path: string): Promise<{ journal?: JournalRecord[]; trouble?: Problem }> {
  try {
    const journal = await readJournal(path);
    return journal ? { journal } : {};
  } catch (error) {
    if (error instanceof JournalError) return { trouble: error.problem };
    throw error;
  }
}

/** Looks at `path` as the prefix of an installation of `files`. */
export async function detectPrefix(path: string, files: BundleFile[]): Promise<PrefixFacts> {
  const { journal, trouble } = await journalOf(path);
  const records = journal ?? [];
  const ours = new Map<string, string>();
  for (const { step } of standing(records)) {
    // What lies outside the prefix, or is made by the plan itself, is not of the bundle.
    if (step.kind === "run" || !step.path.startsWith(`${path}/`)) continue;
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
  const foreign = !journal && !trouble && (await holdsFiles(path));
  return {
    path,
    ...(await prefixState(path)),
    targets,
    obsolete,
    ...(verified ? { verified } : {}),
    ...(foreign ? { foreign } : {}),
    ...(trouble ? { trouble } : {}),
  };
}
