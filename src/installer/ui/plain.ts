// SPDX-License-Identifier: Apache-2.0
// Lines of text, for a pipe as for a terminal; and JSON, one event a line.
import type { Plan } from "../plan/plan.js";
import { type RunStep, type Step, stepTitle } from "../plan/steps.js";
import { describeFacts, elapsed, harmless, planRows } from "./describe.js";
import type { InstallEvent, Reporter } from "./events.js";

/** What taking a step back is called. */
const UNDONE: Record<Step["kind"], string> = {
  folder: "unmake",
  file: "take back",
  text: "take back",
  remove: "bring back",
  run: "undo",
};

function row(name: string, text: string): string {
  return `  ${name.padEnd(9)} ${text}`;
}

function planLines(plan: Plan, verbose: boolean): string[] {
  const rows = planRows(plan, verbose).map(({ verb, text }) => row(verb, text));
  return [`plan: ${plan.device}, because ${plan.because}`, ...rows];
}

/** Knows when command steps began, to say how long they took. */
class StepLines {
  private began = 0;
  constructor(
    private readonly verbose: boolean,
    private readonly now: () => number,
  ) {}

  lines({ step, state, note }: Extract<InstallEvent, { type: "step" }>): string[] {
    const notes = note ? [row("note", note)] : [];
    if (state === "undone") {
      const shown = this.verbose || step.kind === "run" || note;
      return shown ? [row(UNDONE[step.kind], stepTitle(step)), ...notes] : [];
    }
    if (step.kind !== "run") {
      return this.verbose && state === "done" ? [row("done", stepTitle(step)), ...notes] : notes;
    }
    return [...this.command(step, state), ...notes];
  }

  private command(step: RunStep, state: "start" | "done"): string[] {
    if (state === "done") return [row("done", `${step.title} (${elapsed(this.now() - this.began)})`)];
    this.began = this.now();
    return [row("now", step.title)];
  }
}

function lines(event: InstallEvent, steps: StepLines, verbose: boolean): string[] {
  switch (event.type) {
    case "start":
      return [`kontain ${event.version}`];
    case "found":
    case "refusal":
    case "verifying":
      return [];
    case "facts":
      return describeFacts(event.facts).map(({ name, text }) => row(name, text));
    case "plan":
      return planLines(event.plan, verbose);
    case "step":
      return steps.lines(event);
    case "output":
      return verbose ? [`  | ${event.line}`] : [];
    case "problem":
      return [];
    case "verify": {
      const printed = event.run.stdout.split("\n").filter(Boolean);
      const problem = event.run.problem ? [`  ! ${event.run.problem}`] : [];
      return ["verify", `  $ ${event.run.command}`, ...printed.map((line) => `  | ${line}`), ...problem];
    }
    case "result":
      return [event.message, ...event.next.map((line) => `  ${line}`)];
  }
}

export interface PlainOptions {
  verbose?: boolean;
  /** Milliseconds; a test has its own clock. */
  now?: () => number;
}

/** Plain lines. What went well goes to `out`, a closing line that tells of trouble to `err`. */
export function plainReporter(
  out: (text: string) => void,
  err: (text: string) => void,
  { verbose = false, now = () => performance.now() }: PlainOptions = {},
): Reporter {
  const fine = ["installed", "uninstalled", "planned"];
  const steps = new StepLines(verbose, now);
  return (event) => {
    const write = event.type === "result" && !fine.includes(event.outcome) ? err : out;
    for (const line of lines(event, steps, verbose)) write(`${harmless(line)}\n`);
  };
}

/** Every event but the facts piece by piece, which come all at once as well. */
export function jsonReporter(out: (text: string) => void): Reporter {
  return (event) => {
    if (event.type !== "found") out(`${JSON.stringify(event)}\n`);
  };
}
