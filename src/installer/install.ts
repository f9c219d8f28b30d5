// SPDX-License-Identifier: Apache-2.0
// detect -> plan -> apply -> verify, and the way back.
import { join } from "node:path";
import { type ApplyOptions, apply, Interrupted, removeState, undo } from "./apply/apply.js";
import { type Checkpoint, Journal } from "./apply/journal.js";
import { HELLO, MONITOR } from "./bundle.js";
import { detect } from "./detect/detect.js";
import type { HostFacts, Wishes } from "./facts.js";
import { type Plan, plan } from "./plan/plan.js";
import type { Outcome, Reporter } from "./ui/events.js";
import { type HelloRun, runHello } from "./verify/hello.js";

/** How the parts reach the world; a test puts its own in. */
export interface Doors {
  detect: (wishes: Wishes) => Promise<HostFacts>;
  runHello: (monitor: string, hello: string, device: string) => Promise<HelloRun>;
  checkpoint?: Checkpoint;
}

export interface InstallOptions {
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

function applyOptions(
  options: { report: Reporter; signal?: AbortSignal },
  checkpoint?: Checkpoint,
): ApplyOptions {
  return {
    ...(options.signal ? { signal: options.signal } : {}),
    ...(checkpoint ? { checkpoint } : {}),
    onStep: (step, state, note) => options.report({ type: "step", step, state, ...(note ? { note } : {}) }),
  };
}

/** Number of records up to and including the last that says an installation ran; 0 where none did. */
function lastGood(journal: Journal): number {
  return journal.records.findLastIndex((record) => record.type === "verified") + 1;
}

/** Takes back what was done since the last installation that ran its payload. */
async function rollBack(journal: Journal, options: InstallOptions): Promise<void> {
  const good = lastGood(journal);
  const { signal: _, ...rest } = applyOptions(options, options.doors?.checkpoint);
  await undo(journal, good, rest);
  if (good === 0) await removeState(journal, options.doors?.checkpoint);
}

async function verify(decided: Plan, journal: Journal, options: InstallOptions): Promise<HelloRun> {
  const { prefix, device, version } = decided;
  const run = await (options.doors?.runHello ?? runHello)(join(prefix, MONITOR), join(prefix, HELLO), device);
  options.report({ type: "verify", run });
  if (!run.works) {
    await rollBack(journal, options);
    return run;
  }
  const last = journal.records.at(-1);
  if (last?.type !== "verified" || last.version !== version || last.device !== device) {
    await journal.add({ type: "verified", version, device, at: new Date().toISOString() });
  }
  return run;
}

/** Installs. Everything it has to say goes to the reporter; the outcome is also returned. */
export async function install(options: InstallOptions): Promise<Outcome> {
  const { wishes, report } = options;
  const { prefix } = wishes;
  const end = (outcome: Outcome, message: string, next?: string): Outcome => {
    report({ type: "result", outcome, prefix, message, ...(next ? { next } : {}) });
    return outcome;
  };
  const facts = await (options.doors?.detect ?? detect)(wishes);
  report({ type: "facts", facts });
  const decided = plan(facts, wishes);
  if (decided.kind === "refusal") {
    report({ type: "refusal", refusal: decided });
    return end("refused", `cannot install: ${decided.reason}`, `way out: ${decided.remedy}`);
  }
  report({ type: "plan", plan: decided });
  if (options.dryRun) return end("planned", "dry run: nothing was changed");
  if (decided.steps.length > 0 && !(await options.consent(decided))) {
    return end("declined", "nothing was changed: say yes, or pass --yes");
  }
  const journal = await Journal.open(prefix, { create: true });
  if (!journal) throw new Error(`no journal in ${prefix}`);
  try {
    await apply(journal, decided.steps, applyOptions(options, options.doors?.checkpoint));
    const run = await verify(decided, journal, options);
    if (!run.works) {
      return end(
        "failed",
        `not installed: the payload did not run: ${run.problem}`,
        "what had been changed is taken back",
      );
    }
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    return end(
      "interrupted",
      "interrupted",
      "run the same command to go on, or `kontain uninstall` to go back",
    );
  } finally {
    await journal.close();
  }
  return end(
    "installed",
    `installed ${decided.version} in ${prefix}; programs run on ${decided.device}`,
    `try: ${join(prefix, MONITOR)} /bin/echo hello     undo: npx kontain uninstall${prefixOption(prefix)}`,
  );
}

function prefixOption(prefix: string): string {
  return prefix === "/opt/kontain" ? "" : ` --prefix ${prefix}`;
}

/** Takes an installation back, leaving the tree as it was. */
export async function uninstall(options: UninstallOptions): Promise<Outcome> {
  const { prefix, report } = options;
  const end = (outcome: Outcome, message: string, next?: string): Outcome => {
    report({ type: "result", outcome, prefix, message, ...(next ? { next } : {}) });
    return outcome;
  };
  const journal = await Journal.open(prefix, { create: false });
  if (!journal) {
    return end(
      "nothing-installed",
      `nothing is installed in ${prefix}`,
      "another place is named with --prefix",
    );
  }
  try {
    if (!(await options.consent())) return end("declined", "nothing was changed: say yes, or pass --yes");
    const notes = await undo(journal, 0, applyOptions(options, options.checkpoint));
    await removeState(journal, options.checkpoint);
    return end(
      "uninstalled",
      notes.length === 0
        ? `uninstalled; ${prefix} is as it was before`
        : `uninstalled, but for what is noted above`,
    );
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    return end("interrupted", "interrupted", "run the same command to go on");
  } finally {
    await journal.close();
  }
}
