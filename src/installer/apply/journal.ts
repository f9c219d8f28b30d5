// SPDX-License-Identifier: Apache-2.0
// The journal of an installation: PREFIX/.install/journal, one JSON record a line, fsync-ed before what it announces is
// done. PREFIX/.install/backup/N holds what a step replaced: the original inode itself, so that undoing restores
// content, owner, mode, times and all. The prefix, if it was not there, appears together with its journal in one
// rename; so at every moment either nothing has happened or the journal tells what.
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { errorCode, lstatIfThere, syncFolder, temporaryFor } from "../../base/files.js";
import type { Step } from "../plan/plan.js";
import { type Problem, problem, type ReasonId } from "../reasons.js";
import { startTime, takeLock } from "./lock.js";

/** What was at a step's path before it. backup: name under .install/backup. */
export type Before =
  | { type: "absent" }
  | { type: "file"; backup: string }
  /** What was at each of the paths a command touches. */
  | { type: "several"; paths: Record<string, Before> };

export type JournalRecord =
  /** First record; `made`: folders made to hold the journal, outermost first. */
  | { type: "begin"; format: 1; prefix: string; made: string[] }
  | { type: "intent"; seq: number; step: Step; was: Before }
  /** `left`: SHA-256 of each path a command touched, as it left them; null: not there. */
  | { type: "done"; seq: number; left?: Record<string, string | null> }
  | { type: "undone"; seq: number }
  /** Everything so far is an installation that ran its payload. */
  | { type: "verified"; version: string; device: string; at: string };

export type Intent = Extract<JournalRecord, { type: "intent" }>;

/** Why a journal is not worked with. Nothing was changed then. */
export class JournalError extends Error {
  override name = "JournalError";
  readonly problem: Problem;
  constructor(id: Extract<ReasonId, "installer-busy" | "journal-refused" | "root-needed">, evidence: string) {
    super(evidence);
    this.problem = problem(id, evidence);
  }
}

const refused = (evidence: string) => new JournalError("journal-refused", evidence);

/** Called between any two durable changes; a test makes it throw to play a crash at that moment. */
export type Checkpoint = (where: string) => void;

export function stateFolder(prefix: string): string {
  return join(prefix, ".install");
}

function journalFile(prefix: string): string {
  return join(stateFolder(prefix), "journal");
}

/** The complete records of a journal; a last line that a crash tore off is no record. */
export function parseJournal(text: string, path: string): JournalRecord[] {
  const lines = text.slice(0, text.lastIndexOf("\n") + 1).split("\n");
  return lines.filter(Boolean).map((line, index) => {
    const record = recordOf(line);
    if (record) return record;
    throw refused(`${path}: line ${index + 1} is damaged`);
  });
}

/** Names of backups as keep.ts gives them: nothing that leads out of their folder. */
const BACKUP_NAME = /^\d+(\.\d+)?$/;

function isBefore(was: unknown): boolean {
  if (typeof was !== "object" || was === null) return false;
  const { type, backup, paths } = was as Record<string, unknown>;
  if (type === "absent") return true;
  if (type === "file") return typeof backup === "string" && BACKUP_NAME.test(backup);
  return type === "several" && typeof paths === "object" && Object.values(paths ?? {}).every(isBefore);
}

function isPart(part: unknown): boolean {
  if (typeof part !== "object" || part === null) return false;
  const { json, value, text } = part as Record<string, unknown>;
  if (typeof text === "string") return text !== "";
  const keys = Array.isArray(json) && json.length > 0 && json.every((key) => typeof key === "string");
  return keys && typeof value === "object" && value !== null;
}

function isStep(step: unknown): boolean {
  if (typeof step !== "object" || step === null) return false;
  const { kind, path, argv, touches, part } = step as Record<string, unknown>;
  if (kind === "run") return Array.isArray(argv) && Array.isArray(touches);
  const known = kind === "folder" || kind === "file" || kind === "text" || kind === "remove";
  return known && typeof path === "string" && path.startsWith("/") && (part === undefined || isPart(part));
}

/** A line of a journal; undefined for what is none. */
function recordOf(line: string): JournalRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { type, seq, step, was, version, device } = value as Record<string, unknown>;
  const fits =
    type === "begin" ||
    (type === "intent" && Number.isSafeInteger(seq) && isStep(step) && isBefore(was)) ||
    ((type === "done" || type === "undone") && Number.isSafeInteger(seq)) ||
    (type === "verified" && typeof version === "string" && typeof device === "string");
  return fits ? (value as JournalRecord) : undefined;
}

/**
 * A journal is obeyed: what it names is put back, its commands are run. So it has to be the reader's own, or root's,
 * where nobody else could have written it.
 * @throws JournalError
 */
async function checkOwner(prefix: string): Promise<void> {
  const me = process.geteuid?.() ?? 0;
  for (const path of [stateFolder(prefix), journalFile(prefix)]) {
    const there = await lstatIfThere(path);
    if (!there) return;
    if (there.isSymbolicLink()) throw refused(`${path} is a link: not a journal of this tool`);
    if (there.uid !== me && there.uid !== 0) {
      throw refused(`${path} belongs to user ${there.uid}: run this as that user`);
    }
    if ((there.mode & 0o022) !== 0) {
      throw refused(`${path} can be changed by others (mode ${(there.mode & 0o777).toString(8)})`);
    }
  }
}

/** The records of the installation in `prefix`, or undefined where there is none. */
export async function readJournal(prefix: string): Promise<JournalRecord[] | undefined> {
  const path = journalFile(prefix);
  await checkOwner(prefix);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR") return undefined;
    throw error;
  }
  const records = parseJournal(text, path);
  const first = records[0];
  if (first?.type !== "begin" || first.format !== 1) {
    throw refused(`${path}: not a journal this version can read`);
  }
  return records;
}

/** Intents that still stand, oldest first. */
export function standing(records: JournalRecord[]): Intent[] {
  const undone = new Set(records.filter((record) => record.type === "undone").map((record) => record.seq));
  return records.filter((record): record is Intent => record.type === "intent" && !undone.has(record.seq));
}

/** `path` and those of its parents that do not exist, outermost first. */
async function missingFolders(path: string): Promise<string[]> {
  const missing: string[] = [];
  for (let folder = path; !(await lstatIfThere(folder)); folder = dirname(folder)) missing.unshift(folder);
  return missing;
}

/** Where what is to appear at `path` is made: a place of this process's own, as another one may be making the same. */
const nursery = (path: string) => `${temporaryFor(path)}.${process.pid}`;

/** Whether a leftover beside `place` is what a process that is gone made there, or was about to remove. */
async function isLeftover(name: string, place: string): Promise<boolean> {
  const common = basename(temporaryFor(place));
  if (name === common) return true;
  const pid = name.startsWith(`${common}.`) ? Number(name.slice(common.length + 1)) : Number.NaN;
  return Number.isInteger(pid) && (pid === process.pid || !(await startTime(pid)));
}

/** Removes what a crash during creation or removal of `prefix` left beside it: never anything with a live journal. */
export async function sweep(prefix: string): Promise<void> {
  for (let place = stateFolder(prefix); dirname(place) !== place; place = dirname(place)) {
    const beside = dirname(place);
    for (const name of await readdir(beside).catch(() => [])) {
      if (await isLeftover(name, place)) await rm(join(beside, name), { recursive: true, force: true });
    }
  }
}

/** Makes prefix and journal, or leaves those that another installer has made in the meantime. */
async function createState(prefix: string): Promise<void> {
  const made = await missingFolders(prefix);
  // What appears in one rename: the outermost missing folder, or, in a prefix that is there, the state folder.
  const place = made[0] ?? stateFolder(prefix);
  const temporary = nursery(place);
  const state = temporary + stateFolder(prefix).slice(place.length);
  // One by one: mkdir with `recursive` never ends where the kernel answers ENOENT to it (/proc).
  let folder = temporary;
  await mkdir(folder, { mode: 0o755 });
  for (const name of relative(place, join(stateFolder(prefix), "backup")).split("/")) {
    folder = join(folder, name);
    await mkdir(folder, { mode: 0o755 });
  }
  const begin: JournalRecord = { type: "begin", format: 1, prefix, made };
  const handle = await open(join(state, "journal"), "wx", 0o644);
  try {
    await handle.writeFile(`${JSON.stringify(begin)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await syncFolder(state);
  try {
    await rename(temporary, place);
  } catch (error) {
    if (errorCode(error) !== "ENOTEMPTY" && errorCode(error) !== "EEXIST") throw error;
    await rm(temporary, { recursive: true, force: true });
  }
  await syncFolder(dirname(place));
}

/** Root's installations are root's to change. */
async function checkMayWrite(prefix: string): Promise<void> {
  const there = await lstatIfThere(stateFolder(prefix)).catch(() => undefined);
  const me = process.geteuid?.() ?? 0;
  if (there && there.uid === 0 && me !== 0) {
    throw new JournalError("root-needed", `the installation in ${prefix} is root's`);
  }
}

/** How often a journal that goes away is looked for anew. */
const TRIES = 10;

/** An open journal that can be added to. Holds the installation's lock until closed. */
export class Journal {
  private closed = false;

  private constructor(
    readonly prefix: string,
    readonly records: JournalRecord[],
    private readonly handle: FileHandle,
    private readonly lock: string,
  ) {}

  /** Opens the journal of `prefix`; `create`: makes prefix and journal where there is none. */
  static async open(prefix: string, { create }: { create: boolean }): Promise<Journal | undefined> {
    await checkMayWrite(prefix);
    await sweep(prefix);
    // Again when another installer removed what was there between two looks.
    for (let attempt = 0; attempt < TRIES; attempt++) {
      if (!(await readJournal(prefix))) {
        if (!create) return undefined;
        await createState(prefix);
      }
      const lock = await takeLock(stateFolder(prefix));
      if (!lock) continue;
      if ("held" in lock) {
        throw new JournalError(
          "installer-busy",
          `another installer (process ${lock.held}) is at work in ${prefix}`,
        );
      }
      const journal = await Journal.openLocked(prefix, lock.file);
      if (journal) return journal;
    }
    throw refused(`${stateFolder(prefix)} is there, but no journal is in it`);
  }

  private static async openLocked(prefix: string, lock: string): Promise<Journal | undefined> {
    try {
      const records = await readJournal(prefix);
      if (!records) {
        await rm(lock, { force: true });
        return undefined;
      }
      const handle = await open(journalFile(prefix), "a+");
      // A line torn off by a crash goes, so that the next record starts a line.
      const text = await handle.readFile("utf8");
      if (!text.endsWith("\n"))
        await handle.truncate(Buffer.byteLength(text.slice(0, text.lastIndexOf("\n") + 1)));
      return new Journal(prefix, records, handle, lock);
    } catch (error) {
      await rm(lock, { force: true });
      throw error;
    }
  }

  nextSeq(): number {
    return (
      this.records.reduce((most, record) => ("seq" in record ? Math.max(most, record.seq) : most), 0) + 1
    );
  }

  /** Adds a record; it is on the disk when this resolves. */
  async add(record: JournalRecord): Promise<void> {
    await this.handle.appendFile(`${JSON.stringify(record)}\n`);
    await this.handle.sync();
    this.records.push(record);
  }

  backupPath(name: string): string {
    return join(stateFolder(this.prefix), "backup", name);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    await this.abandon();
    await rm(this.lock, { force: true });
  }

  /** Closes it and leaves its lock, which goes with the folder: until then nobody else may come in. */
  async abandon(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.handle.close();
  }
}
