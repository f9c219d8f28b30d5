// SPDX-License-Identifier: Apache-2.0
// Steps that are commands: what they touch is kept before, and taken back after.
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { errorCode, lstatIfThere, syncFolder } from "../../base/files.js";
import type { RunStep, Step } from "../plan/steps.js";
import type { Problem } from "../reasons.js";
import { classify } from "./failures.js";
import type { Before, Checkpoint, Journal } from "./journal.js";
import { fingerprint, keepCopied, putBack } from "./keep.js";

/** A step that could not be done, and why. */
export class StepError extends Error {
  override name = "StepError";
  constructor(
    readonly problem: Problem,
    readonly step: Step,
  ) {
    super(problem.evidence);
  }
}

export type OnOutput = (step: RunStep, line: string) => void;

interface Ended {
  status: number;
  output: string;
  timedOut: boolean;
}

/** How long a command that is told to end may take over it. */
const GRACE_MS = 5000;

/** Ends a command with everything it started: it leads a process group of its own. */
function endGroup(pid: number | undefined): void {
  const send = (signal: "SIGTERM" | "SIGKILL") => {
    try {
      if (pid) process.kill(-pid, signal);
    } catch {
      // gone already
    }
  };
  send("SIGTERM");
  setTimeout(() => send("SIGKILL"), GRACE_MS).unref();
}

/**
 * Lets a command's shell die with the installer, so that after a kill -9 nothing goes on behind the back of the next
 * run. setpriv(1) is of util-linux, as is login; where it is missing the command goes on to its end.
 */
const SETPRIV = "/usr/bin/setpriv";
const dyingWithUs = (argv: string[]) =>
  existsSync(SETPRIV) ? [SETPRIV, "--pdeathsig", "KILL", ...argv] : argv;

async function command(
  argv: string[],
  seconds: number,
  onLine: (line: string) => void = () => {},
  signal?: AbortSignal,
): Promise<Ended> {
  const [program = "", ...args] = dyingWithUs(argv);
  const child = execa(program, args, {
    reject: false,
    all: true,
    stdin: "ignore",
    detached: true,
    env: { LC_ALL: "C" },
  });
  let timedOut = false;
  const abort = () => endGroup(child.pid);
  const limit = setTimeout(() => {
    timedOut = true;
    abort();
  }, seconds * 1000);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    for await (const line of child.iterable({ from: "all" })) onLine(String(line));
    const ended = await child;
    const silent =
      ended.exitCode === undefined
        ? ended.shortMessage
        : `it ended with status ${ended.exitCode} and said nothing`;
    return { status: ended.exitCode ?? 127, output: ended.all || silent || "", timedOut };
  } finally {
    clearTimeout(limit);
    signal?.removeEventListener("abort", abort);
  }
}

/** The whole output of a failed command, where a person finds it after everything else was taken back. */
async function keepLog(step: RunStep, output: string): Promise<string | undefined> {
  // One line is told as it is; of a build one may be wanted, as an attachment.
  if (step.name !== "build" && !output.trim().includes("\n")) return undefined;
  try {
    const folder = await mkdtemp(join(tmpdir(), "kontain-"));
    const path = join(folder, `${step.name}.log`);
    await writeFile(path, `$ ${step.argv.join(" ")}\n${output}\n`);
    return path;
  } catch (error) {
    // No room for it: why the command failed is worth more than where the rest could be read.
    if (!errorCode(error)) throw error;
    return undefined;
  }
}

async function keepAll(journal: Journal, step: RunStep, seq: number): Promise<Before> {
  const paths: Record<string, Before> = {};
  for (const [index, { path }] of step.touches.entries()) {
    paths[path] = await keepCopied(journal, path, `${seq}.${index}`);
  }
  return { type: "several", paths };
}

async function fingerprints(step: RunStep): Promise<Record<string, string | null>> {
  const left: Record<string, string | null> = {};
  for (const { path } of step.touches) left[path] = await fingerprint(path);
  return left;
}

/**
 * Runs a command step through the journal.
 * @throws StepError when it fails; what it touched is then still to be taken back
 */
export async function performRun(
  journal: Journal,
  step: RunStep,
  checkpoint: Checkpoint,
  options: { onOutput?: OnOutput; signal?: AbortSignal },
): Promise<void> {
  const seq = journal.nextSeq();
  const was = await keepAll(journal, step, seq);
  checkpoint(`kept for ${step.name}`);
  await journal.add({ type: "intent", seq, step, was });
  checkpoint(`announced ${step.name}`);
  const tell = (line: string) => options.onOutput?.(step, line);
  const ended = await command(step.argv, step.seconds, tell, options.signal);
  checkpoint(`performed ${step.name}`);
  if (ended.status !== 0) {
    const failure = classify(step, ended, await keepLog(step, ended.output));
    if (step.optional) {
      await settleRun(journal, step, was, seq);
      await journal.add({ type: "undone", seq });
    }
    throw new StepError(failure, step);
  }
  await journal.add({ type: "done", seq, left: await fingerprints(step) });
  checkpoint(`noted ${step.name}`);
}

async function restore(journal: Journal, path: string, was: Before | undefined): Promise<void> {
  const backup = was?.type === "file" ? journal.backupPath(was.backup) : undefined;
  if (!backup) await rm(path, { force: true });
  // The backup gone: a crash came after the original was put back.
  else if (await lstatIfThere(backup)) await putBack(backup, path);
  await syncFolder(dirname(path)).catch((error) => {
    if (errorCode(error) !== "ENOENT") throw error;
  });
}

/** Whether a path is as it was before already: a crash came while the step was being taken back. */
async function isBack(journal: Journal, was: Before | undefined, now: string | null | undefined) {
  if (was?.type !== "file") return now === null;
  const backup = journal.backupPath(was.backup);
  return !(await lstatIfThere(backup)) || (await fingerprint(backup)) === now;
}

/** Takes a command step back. Returns what is left behind, in one line. */
export async function settleRun(
  journal: Journal,
  step: RunStep,
  was: Before,
  seq: number,
): Promise<string | undefined> {
  const notes: string[] = [];
  const before = was.type === "several" ? was.paths : {};
  const done = journal.records.find((record) => record.type === "done" && record.seq === seq);
  // Before the undo command: it may itself rewrite shared files.
  const now = await fingerprints(step);
  const left = done?.type === "done" ? (done.left ?? {}) : now;
  if (step.undo) {
    const ended = await command(step.undo, step.seconds);
    if (ended.status !== 0)
      notes.push(`${step.title}: not taken back: ${ended.output.trim().split("\n").at(-1)}`);
  }
  const shared = step.touches.filter(({ ours }) => !ours);
  let changed = false;
  for (const { path } of shared) {
    if (now[path] !== left[path] && !(await isBack(journal, before[path], now[path]))) changed = true;
  }
  for (const { path, ours } of step.touches) {
    if (ours || !changed) await restore(journal, path, before[path]);
  }
  if (changed && step.merge) {
    const ended = await command(step.merge, step.seconds);
    if (ended.status !== 0) notes.push(`${step.merge.join(" ")}: ${ended.output.trim().split("\n").at(-1)}`);
  }
  if (step.stays && done) notes.push(step.stays);
  return notes.length > 0 ? notes.join("; ") : undefined;
}
