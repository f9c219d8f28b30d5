// SPDX-License-Identifier: Apache-2.0
// What the terminal shows, as a function of the events so far. Pure; the components only draw it.
import type { HostFacts } from "../../facts.js";
import type { Plan } from "../../plan/plan.js";
import { type Step, stepTitle } from "../../plan/steps.js";
import type { Problem } from "../../reasons.js";
import {
  describeFacts,
  describePlan,
  elapsed,
  harmless,
  isOwnFile,
  type Mark,
  type Row,
} from "../describe.js";
import type { InstallEvent, Outcome } from "../events.js";

/** A line or block that will not change any more: it goes into the scrollback. */
export type Item =
  | { key: number; kind: "title"; text: string }
  | { key: number; kind: "fact"; row: Row }
  | { key: number; kind: "plan"; plan: Plan }
  | { key: number; kind: "done"; text: string; mark: Mark }
  | { key: number; kind: "note"; text: string }
  | { key: number; kind: "output"; command: string; lines: string[]; problem: string }
  | { key: number; kind: "problem"; problem: Problem }
  | {
      key: number;
      kind: "result";
      outcome: Outcome;
      message: string;
      next: string[];
      changed: string[];
      rest?: string;
    };

type Bare<T> = T extends { key: number } ? Omit<T, "key"> : never;

/** What is going on right now. */
export interface Work {
  title: string;
  /** Milliseconds of the clock that the events were stamped with. */
  since: number;
  /** How many files of ours it has done; absent for other work. */
  count?: number;
  /** Last line the command printed. */
  output: string;
}

export interface Model {
  items: Item[];
  /** Facts found so far, while looking. */
  looking: Row[] | null;
  work: Work | null;
  /** The plan that waits for a key. */
  asking: Plan | null;
  prefix: string;
  facts: Partial<HostFacts>;
  plan: Plan | null;
}

export const EMPTY: Model = {
  items: [],
  looking: null,
  work: null,
  asking: null,
  prefix: "",
  facts: {},
  plan: null,
};

function add(model: Model, ...items: Bare<Item>[]): Model {
  const first = model.items.length;
  return {
    ...model,
    items: [...model.items, ...items.map((item, at) => ({ ...item, key: first + at }) as Item)],
  };
}

/** Moves finished work into the scrollback. */
function settle(model: Model, now: number): Model {
  const { work } = model;
  if (!work || work.count === 0) return { ...model, work: null };
  const took = elapsed(now - work.since);
  const text =
    work.count === undefined ? `${work.title} (${took})` : `${work.count} files ${work.title} (${took})`;
  return add({ ...model, work: null }, { kind: "done", text, mark: "good" });
}

function onStep(model: Model, event: Extract<InstallEvent, { type: "step" }>, now: number): Model {
  const { step, state, note } = event;
  const notes: Bare<Item>[] = note ? [{ kind: "note", text: note }] : [];
  if (state === "undone") return add(countUndone(model, step, now), ...notes);
  if (isOwnFile(step, model.prefix)) {
    const same = model.work?.count !== undefined;
    const open = same ? model : settle(model, now);
    const work =
      same && open.work ? open.work : { title: `below ${model.prefix}`, since: now, count: 0, output: "" };
    const more = state === "done" && (step.kind === "file" || step.kind === "text") ? 1 : 0;
    return add({ ...open, work: { ...work, count: (work.count ?? 0) + more } }, ...notes);
  }
  if (state === "start") {
    return { ...settle(model, now), work: { title: stepTitle(step), since: now, output: "" } };
  }
  if (!note) return settle(model, now);
  return add({ ...model, work: null }, ...notes);
}

function countUndone(model: Model, step: Step, now: number): Model {
  if (step.kind === "run") {
    return add(settle(model, now), { kind: "done", text: `taken back: ${stepTitle(step)}`, mark: "good" });
  }
  const title = "taken back";
  const work = model.work?.title === title ? model.work : { title, since: now, count: 0, output: "" };
  const open = model.work?.title === title ? model : settle(model, now);
  const file = step.kind === "folder" ? 0 : 1;
  return { ...open, work: { ...work, count: (work.count ?? 0) + file } };
}

/** Evidence is what others said, such as the last line of a command. */
function problemItem({ id, evidence, fix }: Problem): Bare<Item> {
  return { kind: "problem", problem: { id, evidence: harmless(evidence), fix } };
}

/** What was changed, for the last screen. */
function changes(model: Model, outcome: Outcome): string[] {
  if (outcome !== "installed" || !model.plan) return [];
  return describePlan(model.plan, false).map(({ verb, text }) => `${verb} ${text}`);
}

/** The next picture. `now`: milliseconds, for the times shown. */
export function reduce(model: Model, event: InstallEvent, now: number): Model {
  switch (event.type) {
    case "start": {
      const what = event.action === "install" ? "" : "uninstall ";
      const text = `kontain ${event.version}  ${what}${event.prefix}`;
      const looking = event.action === "install" ? [] : null;
      return add({ ...model, prefix: event.prefix, looking }, { kind: "title", text });
    }
    case "found": {
      const facts = { ...model.facts, ...event.facts };
      return { ...model, facts, looking: describeFacts(facts) };
    }
    case "facts": {
      const rows = describeFacts(event.facts).map((row): Bare<Item> => ({ kind: "fact", row }));
      return add({ ...model, facts: event.facts, looking: null }, ...rows);
    }
    case "plan":
      return { ...model, asking: event.plan, plan: event.plan };
    case "step":
      return onStep(planShown(model), event, now);
    case "output": {
      const { work } = model;
      return work ? { ...model, work: { ...work, output: harmless(event.line) } } : model;
    }
    case "verifying":
      return {
        ...settle(planShown(model), now),
        work: { title: `run the hello payload on ${event.device}`, since: now, output: "" },
      };
    case "verify": {
      const { run } = event;
      const shown = run.works ? settle(model, now) : { ...model, work: null };
      const lines = run.stdout.split("\n").filter(Boolean).map(harmless);
      return add(shown, { kind: "output", command: run.command, lines, problem: run.problem });
    }
    case "problem":
      return add({ ...model, work: null }, problemItem(event.problem));
    case "refusal": {
      const { code: id, reason: evidence, remedy: fix } = event.refusal;
      return add(model, problemItem({ id, evidence, fix }));
    }
    case "result": {
      const { outcome, message, next, rest } = event;
      const shown = settle(planShown(model), now);
      const changed = changes(shown, outcome);
      return add(shown, { kind: "result", outcome, message, next, changed, ...(rest ? { rest } : {}) });
    }
  }
}

/** The plan was answered, or needed no answer: it goes into the scrollback. */
export function planShown(model: Model): Model {
  return model.asking ? add({ ...model, asking: null }, { kind: "plan", plan: model.asking }) : model;
}
