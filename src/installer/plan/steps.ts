// SPDX-License-Identifier: Apache-2.0
// The changes a plan is made of. Data: the journal keeps them and takes them back without the code that made them.

/** A file that a command changes, and that is kept before it runs. */
export interface Touched {
  path: string;
  /**
   * Nobody else writes it, so what was before comes back whatever it holds now. A shared file comes back only if it is
   * still as the command left it; otherwise `merge` runs.
   */
  ours: boolean;
}

export type RunName = "packages" | "group" | "register" | "build" | "load" | "kvm-load";

export interface RunStep {
  kind: "run";
  name: RunName;
  /** What it changes, for people. */
  title: string;
  argv: string[];
  touches: Touched[];
  /** Runs first when the step is taken back; its failure is noted and stops nothing. */
  undo: string[] | null;
  /** Takes our part out of shared files that others have changed since. */
  merge: string[] | null;
  /** What stays behind when the step is taken back, for people. */
  stays: string | null;
  /** Its failure is noted and the rest goes on. */
  optional: boolean;
  /** Bound on argv. */
  seconds: number;
}

/** A command step; what is not said is the plain case: it touches nothing, and leaves nothing. */
export function run(step: Partial<RunStep> & Pick<RunStep, "name" | "title" | "argv">): RunStep {
  return {
    kind: "run",
    touches: [],
    undo: null,
    merge: null,
    stays: null,
    optional: false,
    seconds: 60,
    ...step,
  };
}

/** A shell script as an argument list; `args` are its $1 and so on. */
export const sh = (script: string, ...args: string[]) => ["sh", "-c", script, "kontain", ...args];

/** The files that depmod(8) writes for a kernel. */
export function moduleIndexes(release: string): Touched[] {
  const both = ["alias", "dep", "symbols", "builtin", "builtin.alias"];
  const names = [...both.flatMap((name) => [name, `${name}.bin`]), "softdep", "weakdep", "devname"];
  return names.map((name) => ({ path: `/lib/modules/${release}/modules.${name}`, ours: false }));
}

/** What of somebody else's file is ours, so that it can be taken out of whatever became of the file. */
export type Part =
  /** A member of a JSON document: the keys that lead to it, and what is in it while it is ours. */
  | { json: string[]; value: Record<string, unknown> }
  /** Lines of TOML, as they were added. */
  | { text: string };

export interface TextStep {
  kind: "text";
  path: string;
  content: string;
  mode: number;
  why: string;
  /** It is in somebody else's file, whose mode and owner stay. */
  part?: Part;
  /** In the journal, which everybody can read, this stands for the content: there may be a password in it. */
  sha256?: string;
}

export type Step =
  | { kind: "folder"; path: string; mode: number }
  | { kind: "file"; path: string; source: string; mode: number; sha256: string }
  | TextStep
  | { kind: "remove"; path: string }
  | RunStep;

export type PathStep = Exclude<Step, RunStep>;

/** The one line that says what a step changes. */
export function stepTitle(step: Step): string {
  if (step.kind === "run") return step.title;
  return step.kind === "text" ? `${step.path}: ${step.why}` : step.path;
}

/** Whether a step changes something outside the prefix, for which one has to be root. */
export function needsRoot(step: Step, prefix: string): boolean {
  return step.kind === "run" || !(step.path === prefix || step.path.startsWith(`${prefix}/`));
}
