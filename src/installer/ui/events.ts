// SPDX-License-Identifier: Apache-2.0
// What an installation tells whoever shows it. A reporter is a function of these; it decides nothing.
import type { HostFacts } from "../facts.js";
import type { Plan, Refusal, Step } from "../plan/plan.js";
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
  | { type: "facts"; facts: HostFacts }
  | { type: "plan"; plan: Plan }
  | { type: "refusal"; refusal: Refusal }
  | { type: "step"; step: Step; state: "start" | "done" | "undone"; note?: string }
  | { type: "verify"; run: HelloRun }
  | { type: "result"; outcome: Outcome; prefix: string; message: string; next?: string };

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
