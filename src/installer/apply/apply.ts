// SPDX-License-Identifier: Apache-2.0
// Runs steps forwards, and backwards. Every step is: keep what is there, write the intent, do it, write that it is
// done. A crash anywhere leaves a state from which a rerun goes on and `undo` goes back.
import { lstat, mkdir, readdir, readFile, rename, rm, rmdir, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import {
  ChecksumError,
  copyFileWhole,
  errorCode,
  lstatIfThere,
  putFile,
  sha256,
  syncFolder,
  temporaryFor,
} from "../../base/files.js";
import type { Part, PathStep, Step, TextStep } from "../plan/steps.js";
import { problem } from "../reasons.js";
import { type OnOutput, performRun, StepError, settleRun } from "./commands.js";
import { type Before, type Checkpoint, type Intent, type Journal, standing, stateFolder } from "./journal.js";
import { digest, keepLinked, putBack } from "./keep.js";
import { withoutPart } from "./part.js";

export class Interrupted extends Error {
  override name = "Interrupted";
}

export interface ApplyOptions {
  /** Aborted: stop before the next step. */
  signal?: AbortSignal;
  checkpoint?: Checkpoint;
  /** Told of each step before and after it. */
  onStep?: (step: Step, state: "start" | "done" | "undone", note?: string) => void;
  /** Told of each line a step's command prints. */
  onOutput?: OnOutput;
}

const nowhere: Checkpoint = () => {};

/** Somebody else's file may be closed to others (a proxy's password in it), and stays so. */
async function putText({ path, content, mode, part }: TextStep): Promise<void> {
  const there = part ? await stat(path).catch(() => undefined) : undefined;
  await putFile(path, there ? there.mode & 0o7777 : mode, async (handle) => {
    await handle.writeFile(content);
    if (there) await handle.chown(there.uid, there.gid);
  });
}

async function perform(step: PathStep): Promise<void> {
  if (step.kind === "file") return copyFileWhole(step.source, step.path, step.mode, step.sha256);
  if (step.kind === "text") return putText(step);
  if (step.kind === "remove") await rm(step.path, { force: true });
  else await mkdir(step.path, { mode: step.mode });
  await syncFolder(dirname(step.path));
}

const wantedDigest = (step: PathStep) =>
  step.kind === "file"
    ? step.sha256
    : step.kind === "text"
      ? (step.sha256 ?? digest(step.content))
      : undefined;

/** A step as the journal has it. */
const recorded = (step: PathStep): PathStep =>
  step.kind === "text" ? { ...step, content: "", sha256: digest(step.content) } : step;

/** Whether the step's result is already there and nothing has to be done or undone. */
async function holds(step: PathStep): Promise<boolean> {
  if (step.kind === "remove") return !(await lstatIfThere(step.path));
  // A link to a folder serves as one.
  if (step.kind === "folder") return (await stat(step.path).catch(() => undefined))?.isDirectory() ?? false;
  const there = await lstatIfThere(step.path);
  if (!there?.isFile()) return false;
  const anyMode = step.kind === "text" && step.part;
  if (!anyMode && (there.mode & 0o7777) !== step.mode) return false;
  return (await sha256(step.path)) === wantedDigest(step);
}

/** A system error, in words of ours: which file or command, and what to do. */
function explain(error: unknown, step: Step): unknown {
  if (error instanceof ChecksumError) return new StepError(problem("package-damaged", error.message), step);
  const code = errorCode(error);
  if (!code) return error;
  const id = code === "ENOSPC" || code === "EDQUOT" ? "disk-full" : "step-failed";
  const message = error instanceof Error ? error.message : String(error);
  const where = step.kind === "run" ? step.title : step.path;
  const evidence = message.includes(where) ? message : `${where}: ${message}`;
  return new StepError(problem(id, evidence), step);
}

async function applyPath(journal: Journal, step: PathStep, checkpoint: Checkpoint): Promise<void> {
  try {
    const seq = journal.nextSeq();
    const was = await keepLinked(journal, step.path, seq);
    checkpoint(`kept ${step.path}`);
    await journal.add({ type: "intent", seq, step: recorded(step), was });
    checkpoint(`announced ${step.path}`);
    await perform(step);
    checkpoint(`performed ${step.path}`);
    await journal.add({ type: "done", seq });
    checkpoint(`noted ${step.path}`);
  } catch (error) {
    throw explain(error, step);
  }
}

/**
 * Runs `steps` through the journal. Throws Interrupted when the signal was given (a rerun goes on from there), StepError
 * when a step cannot be done. Returns a line for each optional step that failed.
 */
export async function apply(journal: Journal, steps: Step[], options: ApplyOptions = {}): Promise<string[]> {
  const checkpoint = options.checkpoint ?? nowhere;
  const notes: string[] = [];
  for (const step of steps) {
    if (options.signal?.aborted) throw new Interrupted("interrupted");
    if (step.kind !== "run" && (await holds(step))) continue;
    options.onStep?.(step, "start");
    let note: string | undefined;
    if (step.kind === "run") note = await applyRun(journal, step, options, checkpoint);
    else await applyPath(journal, step, checkpoint);
    if (note) notes.push(note);
    options.onStep?.(step, "done", note);
  }
  return notes;
}

type RunOf = Extract<Step, { kind: "run" }>;

async function applyRun(
  journal: Journal,
  step: RunOf,
  options: ApplyOptions,
  checkpoint: Checkpoint,
): Promise<string | undefined> {
  try {
    await performRun(journal, step, checkpoint, options);
    return undefined;
  } catch (error) {
    if (options.signal?.aborted) throw new Interrupted("interrupted");
    if (error instanceof StepError && step.optional) {
      const { id, evidence, fix } = error.problem;
      return `not done: ${evidence}; way out: ${fix} (${id})`;
    }
    throw explain(error, step);
  }
}

/** Whether a path holds neither what we wrote nor what was there: somebody has changed it since. */
async function isChanged(step: PathStep, backup: string | undefined): Promise<boolean> {
  const there = await lstatIfThere(step.path);
  if (!there || (backup && (await sameFile(step.path, backup)))) return false;
  const wanted = wantedDigest(step);
  return wanted === undefined || !there.isFile() || (await sha256(step.path)) !== wanted;
}

/** A file of ours that somebody has changed is theirs as well: it is moved aside, not deleted. */
async function setAside(path: string): Promise<string> {
  let aside = `${path}.changed-since-install`;
  for (let n = 2; await lstatIfThere(aside); n++) aside = `${path}.changed-since-install.${n}`;
  await rename(path, aside);
  return `${path} was changed since it was installed; kept as ${aside}`;
}

/** Takes our part out of a file that others have changed since, or removed: what they made of it stays. */
async function undoPart(step: TextStep, part: Part, backup: string | undefined): Promise<string | undefined> {
  const there = await lstatIfThere(step.path);
  let note: string | undefined;
  if (there && !there.isFile()) note = `${step.path} is no file of its own any more; left as it is`;
  if (there?.isFile()) {
    const before = backup ? await readFile(backup, "utf8") : undefined;
    const left = withoutPart(await readFile(step.path, "utf8"), before, part, step.path);
    if (left.content === null) await rm(step.path);
    else if (left.content !== undefined) await putText({ ...step, content: left.content });
    note = left.note;
  }
  if (backup) await rm(backup);
  return note;
}

/** The same inode, or (a backup on another file system or mount) the same content and time. */
async function sameFile(path: string, backup: string): Promise<boolean> {
  const [one, two] = await Promise.all([lstat(path), lstatIfThere(backup)]);
  if (!two) return false;
  if (one.ino === two.ino && one.dev === two.dev) return true;
  if (!one.isFile() || !two.isFile()) return false;
  return one.mtimeMs === two.mtimeMs && (await sha256(path)) === (await sha256(backup));
}

async function removeFolder(path: string): Promise<string | undefined> {
  try {
    await rmdir(path);
    return undefined;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    if (errorCode(error) === "ENOTEMPTY" || errorCode(error) === "ENOTDIR") {
      return `${path} holds files that are not ours; kept`;
    }
    throw error;
  }
}

async function undoPath(journal: Journal, step: PathStep, was: Before): Promise<string | undefined> {
  if (step.kind === "folder") return removeFolder(step.path);
  await rm(temporaryFor(step.path), { force: true });
  const backup = was.type === "file" ? journal.backupPath(was.backup) : undefined;
  // The backup gone: a crash came after the original was put back and before that was noted.
  if (backup && !(await lstatIfThere(backup))) return undefined;
  const note = await bringBack(step, backup);
  await syncFolder(dirname(step.path)).catch((error) => {
    if (errorCode(error) !== "ENOENT") throw error;
  });
  return note;
}

async function bringBack(step: PathStep, backup: string | undefined): Promise<string | undefined> {
  const changed = await isChanged(step, backup);
  if (step.kind === "text" && step.part && (changed || !(await lstatIfThere(step.path)))) {
    return undoPart(step, step.part, backup);
  }
  const note = changed ? await setAside(step.path) : undefined;
  if (backup) await putBack(backup, step.path);
  else await rm(step.path, { force: true });
  return note;
}

/**
 * Takes steps back, newest first, down to (not including) the journal's record number `downTo`; 0 takes back all.
 * Returns a line for each thing it left because somebody else had changed it.
 */
export async function undo(journal: Journal, downTo: number, options: ApplyOptions = {}): Promise<string[]> {
  const checkpoint = options.checkpoint ?? nowhere;
  const notes: string[] = [];
  const done = new Set(standing(journal.records.slice(0, downTo)).map((intent) => intent.seq));
  for (const intent of standing(journal.records).reverse()) {
    if (done.has(intent.seq)) continue;
    if (options.signal?.aborted) throw new Interrupted("interrupted");
    const note = await undoOne(journal, intent);
    checkpoint(`took back ${intent.seq}`);
    if (note) notes.push(note);
    await journal.add({ type: "undone", seq: intent.seq });
    checkpoint(`noted taking back ${intent.seq}`);
    options.onStep?.(intent.step, "undone", note);
  }
  return notes;
}

function undoOne(journal: Journal, { step, was, seq }: Intent): Promise<string | undefined> {
  return step.kind === "run" ? settleRun(journal, step, was, seq) : undoPath(journal, step, was);
}

async function holdsOnly(folder: string, name: string): Promise<boolean> {
  const names = await readdir(folder);
  return names.length === 1 && names[0] === name;
}

/**
 * After a full undo: removes the journal, and the folders that were made to hold it where nothing else is in them.
 * What goes, goes in one rename, so a crash leaves either the journal or a leftover that the next run sweeps away.
 */
export async function removeState(journal: Journal, checkpoint: Checkpoint = nowhere): Promise<void> {
  const { prefix, records } = journal;
  const begin = records[0];
  const made = begin?.type === "begin" ? [...begin.made] : [];
  await journal.abandon();
  let place = stateFolder(prefix);
  while (made.length > 0 && (await holdsOnly(dirname(place), basename(place)))) {
    if (dirname(place) !== made.pop()) break;
    place = dirname(place);
  }
  const temporary = temporaryFor(place);
  await rename(place, temporary);
  await syncFolder(dirname(place));
  checkpoint(`moved ${place} out of the way`);
  await rm(temporary, { recursive: true, force: true });
  await syncFolder(dirname(temporary));
}
