// SPDX-License-Identifier: Apache-2.0
// What an installation tells whoever shows it. A reporter is a function of these; it decides nothing.
import type { HostFacts } from "../facts.js";
import type { Plan, Refusal } from "../plan/plan.js";
import type { RunStep, Step } from "../plan/steps.js";
import type { Problem } from "../reasons.js";
import type { HelloRun } from "../verify/hello.js";

export type Outcome =
  | "installed"
  | "uninstalled"
  | "planned"
  | "refused"
  | "declined"
  | "failed"
  | "interrupted"
  | "nothing-installed";

export type InstallEvent =
  | { type: "start"; action: "install" | "uninstall"; version: string; prefix: string }
  /** Some facts, as they are found; `facts` has them all. */
  | { type: "found"; facts: Partial<HostFacts> }
  | { type: "facts"; facts: HostFacts }
  | { type: "plan"; plan: Plan }
  | { type: "refusal"; refusal: Refusal }
  | { type: "step"; step: Step; state: "start" | "done" | "undone"; note?: string }
  /** A line that a step's command printed. */
  | { type: "output"; step: RunStep; line: string }
  /** Something could not be done; what had been done is taken back next. */
  | { type: "problem"; problem: Problem }
  | { type: "verifying"; device: string }
  | { type: "verify"; run: HelloRun }
  /** `next`: lines that say what to do now; `rest`: what became of the host where it failed, which they say as well. */
  | { type: "result"; outcome: Outcome; prefix: string; message: string; next: string[]; rest?: string };

export type Reporter = (event: InstallEvent) => void;

/** Exit status of the command for each outcome; usage errors are 2. */
export const EXIT_STATUS: Record<Outcome, number> = {
  installed: 0,
  uninstalled: 0,
  planned: 0,
  failed: 1,
  "nothing-installed": 1,
  refused: 3,
  declined: 4,
  interrupted: 130,
};
