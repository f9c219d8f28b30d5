// SPDX-License-Identifier: Apache-2.0
// Runs steps forwards, and backwards. Every step is: keep what is there, write the intent, do it, write that it is
// done. A crash anywhere leaves a state from which a rerun goes on and `undo` goes back.
import { link, mkdir, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import {
  copyFileWhole,
  errorCode,
  lstatIfThere,
  sha256,
  syncFolder,
  temporaryFor,
} from "../../base/files.js";
import type { Step } from "../plan/plan.js";
import { type Before, type Checkpoint, type Intent, type Journal, standing, stateFolder } from "./journal.js";

export class Interrupted extends Error {
  override name = "Interrupted";
}

export interface ApplyOptions {
  /** Aborted: stop before the next step. */
  signal?: AbortSignal;
  checkpoint?: Checkpoint;
  /** Told of each step before and after it. */
  onStep?: (step: Step, state: "start" | "done" | "undone", note?: string) => void;
}

const nowhere: Checkpoint = () => {};

/** Keeps the inode at `path` under the journal's backup folder. */
async function keep(journal: Journal, path: string, seq: number): Promise<Before> {
  if (!(await lstatIfThere(path))) return { type: "absent" };
  const backup = String(seq);
  await rm(journal.backupPath(backup), { force: true });
  await link(path, journal.backupPath(backup));
  await syncFolder(dirname(journal.backupPath(backup)));
  return { type: "file", backup };
}

async function perform(step: Step): Promise<void> {
  if (step.kind === "file") return copyFileWhole(step.source, step.path, step.mode);
  if (step.kind === "remove") await rm(step.path, { force: true });
  else await mkdir(step.path, { mode: step.mode });
  await syncFolder(dirname(step.path));
}

/** Whether the step's result is already there and nothing has to be done or undone. */
async function holds(step: Step): Promise<boolean> {
  if (step.kind === "remove") return !(await lstatIfThere(step.path));
  // A link to a folder serves as one.
  if (step.kind === "folder") return (await stat(step.path).catch(() => undefined))?.isDirectory() ?? false;
  const there = await lstatIfThere(step.path);
  if (!there?.isFile() || (there.mode & 0o7777) !== step.mode) return false;
  return (await sha256(step.path)) === step.sha256;
}

/** Runs `steps` through the journal. Throws Interrupted when the signal was given; a rerun goes on from there. */
export async function apply(journal: Journal, steps: Step[], options: ApplyOptions = {}): Promise<void> {
  const checkpoint = options.checkpoint ?? nowhere;
  for (const step of steps) {
    if (options.signal?.aborted) throw new Interrupted("interrupted");
    if (await holds(step)) continue;
    options.onStep?.(step, "start");
    const seq = journal.nextSeq();
    const was = await keep(journal, step.path, seq);
    checkpoint(`kept ${step.path}`);
    await journal.add({ type: "intent", seq, step, was });
    checkpoint(`announced ${step.path}`);
    await perform(step);
    checkpoint(`performed ${step.path}`);
    await journal.add({ type: "done", seq });
    checkpoint(`noted ${step.path}`);
    options.onStep?.(step, "done");
  }
}

async function sameInode(first: string, second: string): Promise<boolean> {
  const [one, two] = await Promise.all([lstatIfThere(first), lstatIfThere(second)]);
  return one !== undefined && two !== undefined && one.ino === two.ino && one.dev === two.dev;
}

/** A file that is neither what we wrote nor what was there belongs to somebody: it is moved aside, not deleted. */
async function saveChanged(step: Step, original: string | undefined): Promise<string | undefined> {
  const there = await lstatIfThere(step.path);
  if (!there || (original && (await sameInode(step.path, original)))) return undefined;
  if (step.kind === "file" && there.isFile() && (await sha256(step.path)) === step.sha256) return undefined;
  const aside = `${step.path}.changed-since-install`;
  await rename(step.path, aside);
  return `${step.path} was changed since it was installed; kept as ${aside}`;
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

async function undoOne(journal: Journal, { step, was }: Intent): Promise<string | undefined> {
  if (step.kind === "folder") return removeFolder(step.path);
  await rm(temporaryFor(step.path), { force: true });
  const backup = was.type === "file" ? journal.backupPath(was.backup) : undefined;
  // The backup gone: a crash came after the original was put back and before that was noted.
  if (backup && !(await lstatIfThere(backup))) return undefined;
  const note = await saveChanged(step, backup);
  if (!backup) await rm(step.path, { force: true });
  // Two names of one inode: rename(2) would do nothing.
  else if (await sameInode(step.path, backup)) await rm(backup);
  else await rename(backup, step.path);
  await syncFolder(dirname(step.path)).catch((error) => {
    if (errorCode(error) !== "ENOENT") throw error;
  });
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
    checkpoint(`took back ${intent.step.path}`);
    if (note) notes.push(note);
    await journal.add({ type: "undone", seq: intent.seq });
    checkpoint(`noted taking back ${intent.step.path}`);
    options.onStep?.(intent.step, "undone", note);
  }
  return notes;
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
  await journal.close();
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
