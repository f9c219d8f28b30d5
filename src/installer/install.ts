// SPDX-License-Identifier: Apache-2.0
// detect -> plan -> apply -> verify, and the way back.
import { delimiter, dirname, join } from "node:path";
import { errorCode } from "../base/files.js";
import { type ApplyOptions, apply, Interrupted, removeState, undo } from "./apply/apply.js";
import { StepError } from "./apply/commands.js";
import { type Checkpoint, Journal, JournalError, sweep } from "./apply/journal.js";
import { HELLO, MONITOR, packageVersion } from "./bundle.js";
import { detect, type OnFacts } from "./detect/detect.js";
import { DEFAULT_PREFIX, type HostFacts, type Wishes } from "./facts.js";
import { shellWord } from "./kkm-scripts.js";
import { type Plan, plan } from "./plan/plan.js";
import { type Problem, problem } from "./reasons.js";
import type { Outcome, Reporter } from "./ui/events.js";
import { type HelloRun, runHello } from "./verify/hello.js";

/** How the parts reach the world; a test puts its own in. */
export interface Doors {
  detect?: (wishes: Wishes, found?: OnFacts) => Promise<HostFacts>;
  runHello?: (monitor: string, hello: string, device: string) => Promise<HelloRun>;
  checkpoint?: Checkpoint;
}

export interface InstallOptions {
  /** What is installed; default: this package. */
  version?: string;
  wishes: Wishes;
  report: Reporter;
  /** Show the plan and stop. */
  dryRun?: boolean;
  /** Asked once, before the first change; false: nothing is done. */
  consent: (plan: Plan) => Promise<boolean>;
  signal?: AbortSignal;
  doors?: Doors;
}

export interface UninstallOptions {
  prefix: string;
  report: Reporter;
  consent: () => Promise<boolean>;
  signal?: AbortSignal;
  checkpoint?: Checkpoint;
}

type Told = { report: Reporter; signal?: AbortSignal };

function applyOptions({ report, signal }: Told, checkpoint?: Checkpoint): ApplyOptions {
  return {
    ...(signal ? { signal } : {}),
    ...(checkpoint ? { checkpoint } : {}),
    onStep: (step, state, note) => report({ type: "step", step, state, ...(note ? { note } : {}) }),
    onOutput: (step, line) => report({ type: "output", step, line }),
  };
}

/** Reports how it ended, and returns that. */
export function ending(report: Reporter, prefix: string) {
  return (outcome: Outcome, message: string, ...next: string[]): Outcome => {
    report({ type: "result", outcome, prefix, message, next });
    return outcome;
  };
}

/** Reports what stopped it and then how it ended. `settle`: sees to the host, and says what became of it. */
export async function stopped(
  { report, prefix }: { report: Reporter; prefix: string },
  what: "installed" | "uninstalled" | "upgraded",
  stop: Problem,
  settle: () => Promise<string> = async () => "nothing was changed",
): Promise<Outcome> {
  const { id, evidence, fix } = stop;
  report({ type: "problem", problem: stop });
  const rest = await settle();
  const next = [`way out: ${fix}`, `reason: ${id}; ${rest}`];
  report({ type: "result", outcome: "failed", prefix, message: `not ${what}: ${evidence}`, next, rest });
  return "failed";
}

const UNTOUCHED = "interrupted: nothing was changed";

/** A path as a person types it. */
const typed = (path: string) => (/^[\w@%+=:,./-]+$/.test(path) ? path : shellWord(path));

function undoCommand(prefix: string): string {
  return `npx kontain uninstall${prefix === DEFAULT_PREFIX ? "" : ` --prefix ${typed(prefix)}`}`;
}

/** The problem in an error of a step, of the journal or of the system; anything else is our mistake, and thrown on. */
export function problemOf(error: unknown): Problem {
  if (error instanceof StepError || error instanceof JournalError) return error.problem;
  const code = errorCode(error);
  if (!(error instanceof Error) || !code || !/^E[A-Z0-9]+$/.test(code)) throw error;
  return problem(code === "ENOSPC" || code === "EDQUOT" ? "disk-full" : "step-failed", error.message);
}

/** Number of records up to and including the last that says an installation ran; 0 where none did. */
function lastGood(journal: Journal): number {
  return journal.records.findLastIndex((record) => record.type === "verified") + 1;
}

/** Takes back what was done since the last installation that ran its payload. Returns what to say of it. */
async function rollBack(journal: Journal, options: InstallOptions): Promise<string> {
  const good = lastGood(journal);
  const { signal: _, ...rest } = applyOptions(options, options.doors?.checkpoint);
  try {
    await undo(journal, good, rest);
    if (good === 0) await removeState(journal, options.doors?.checkpoint);
    return "what had been changed is taken back";
  } catch (error) {
    const why = problemOf(error).evidence;
    return `not all is taken back (${why}): ${undoCommand(journal.prefix)} goes on with it`;
  }
}

async function verify(decided: Plan, journal: Journal, options: InstallOptions): Promise<HelloRun> {
  const { prefix, device, version } = decided;
  options.report({ type: "verifying", device });
  const run = await (options.doors?.runHello ?? runHello)(join(prefix, MONITOR), join(prefix, HELLO), device);
  options.report({ type: "verify", run });
  if (!run.works) return run;
  const last = journal.records.at(-1);
  if (last?.type !== "verified" || last.version !== version || last.device !== device) {
    await journal.add({ type: "verified", version, device, at: new Date().toISOString() });
  }
  return run;
}

/** Opens the journal. What stops that is told like any other problem. */
async function openJournal(prefix: string): Promise<Journal | Problem> {
  try {
    const journal = await Journal.open(prefix, { create: true });
    if (!journal) throw new Error(`no journal in ${prefix}`);
    return journal;
  } catch (error) {
    const found = problemOf(error);
    if (error instanceof JournalError) return found;
    await sweep(prefix).catch(() => {});
    const id = found.id === "disk-full" ? found.id : "prefix-denied";
    return problem(id, `${prefix}: ${found.evidence}`);
  }
}

async function applyAndVerify(
  decided: Plan,
  journal: Journal,
  options: InstallOptions,
): Promise<Problem | null> {
  try {
    await apply(journal, decided.steps, applyOptions(options, options.doors?.checkpoint));
    const run = await verify(decided, journal, options);
    if (run.works) return null;
    return problem("payload-failed", `the payload did not run: ${run.problem}`);
  } catch (error) {
    return problemOf(error);
  }
}

function pathHint(prefix: string): string[] {
  const bin = dirname(join(prefix, MONITOR));
  if ((process.env.PATH ?? "").split(delimiter).includes(bin)) return [];
  return [`path: export PATH=${typed(bin)}:$PATH`];
}

function installedHints({ prefix }: Plan): string[] {
  return [
    `try:  ${typed(join(prefix, MONITOR))} /bin/echo hello`,
    ...pathHint(prefix),
    `undo: ${undoCommand(prefix)}`,
  ];
}

/** Installs. Everything it has to say goes to the reporter; the outcome is also returned. */
export async function install(options: InstallOptions): Promise<Outcome> {
  const { wishes, report } = options;
  const { prefix } = wishes;
  const end = ending(report, prefix);
  const version = options.version ?? (await packageVersion());
  report({ type: "start", action: "install", version, prefix });
  const found: OnFacts = (facts) => report({ type: "found", facts });
  const facts = await (options.doors?.detect ?? detect)(wishes, found);
  report({ type: "facts", facts });
  if (options.signal?.aborted) return end("interrupted", UNTOUCHED);
  const decided = plan(facts, wishes);
  if (decided.kind === "refusal") {
    report({ type: "refusal", refusal: decided });
    const { reason, remedy, code } = decided;
    return end("refused", `cannot install: ${reason}`, `way out: ${remedy}`, `reason: ${code}`);
  }
  report({ type: "plan", plan: decided });
  if (options.dryRun) return end("planned", "dry run: nothing was changed");
  const agreed = decided.steps.length === 0 || (await options.consent(decided));
  if (options.signal?.aborted) return end("interrupted", UNTOUCHED);
  if (!agreed) return end("declined", "nothing was changed: say yes, or pass --yes");
  const journal = await openJournal(prefix);
  if (!(journal instanceof Journal)) return stopped({ report, prefix }, "installed", journal);
  try {
    const stop = await applyAndVerify(decided, journal, options);
    if (stop) return await stopped({ report, prefix }, "installed", stop, () => rollBack(journal, options));
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    return end(
      "interrupted",
      "interrupted",
      `run the same command to go on, or \`${undoCommand(prefix)}\` to go back`,
    );
  } finally {
    await journal.close();
  }
  return end(
    "installed",
    `installed ${decided.version} in ${prefix}; programs run on ${decided.device}`,
    ...installedHints(decided),
  );
}

async function takeBack(journal: Journal, options: UninstallOptions): Promise<Outcome> {
  const { prefix, report } = options;
  const end = ending(report, prefix);
  try {
    const agreed = await options.consent();
    if (options.signal?.aborted) return end("interrupted", UNTOUCHED);
    if (!agreed) return end("declined", "nothing was changed: say yes, or pass --yes");
    const notes = await undo(journal, 0, applyOptions(options, options.checkpoint));
    await removeState(journal, options.checkpoint);
    return end(
      "uninstalled",
      notes.length === 0
        ? `uninstalled; ${prefix} is as it was before`
        : `uninstalled, but for what is noted above`,
    );
  } catch (error) {
    if (error instanceof Interrupted)
      return end("interrupted", "interrupted", "run the same command to go on");
    const rest = async () => "run the same command again to go on";
    return await stopped(options, "uninstalled", problemOf(error), rest);
  } finally {
    await journal.close();
  }
}

/** Takes an installation back, leaving the tree as it was. */
export async function uninstall(options: UninstallOptions): Promise<Outcome> {
  const { prefix, report } = options;
  report({ type: "start", action: "uninstall", version: await packageVersion(), prefix });
  let journal: Journal | undefined;
  try {
    journal = await Journal.open(prefix, { create: false });
  } catch (error) {
    return stopped(options, "uninstalled", problemOf(error));
  }
  if (journal) return takeBack(journal, options);
  const none = `nothing is installed in ${prefix}`;
  return ending(report, prefix)("nothing-installed", none, "another place is named with --prefix");
}
