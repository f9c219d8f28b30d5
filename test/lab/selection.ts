// SPDX-License-Identifier: Apache-2.0
// Which cells of the table a run has, and how long they will take: the whole table is most of a day's work.

import { availableParallelism } from "node:os";
import type { Kernel } from "./kernels.js";
import { notApplicable, type Suite } from "./suites.js";

/** What is known of a suite beyond its definition. */
interface Habit {
  /** On one quiet processor that emulates, from boot to end. A guess to plan by; nothing is bounded by it. */
  readonly seconds: number;
  /** The kernels that stand for all in the default table. Without this: every kernel. */
  readonly on?: readonly string[];
}

const everyRelease = ["5.10", "6.1", "6.12", "sid"];

const HABITS: Readonly<Record<string, Habit>> = {
  boot: { seconds: 5 },
  kkm: { seconds: 35 },
  "kkm-fuzz": { seconds: 65 },
  "kkm-load": { seconds: 8 },
  machine: { seconds: 90, on: everyRelease },
  programs: { seconds: 120, on: everyRelease },
  features: { seconds: 90, on: everyRelease },
  "programs-svm": { seconds: 130, on: ["6.1"] },
  "features-svm": { seconds: 110, on: ["6.1"] },
  syscalls: { seconds: 80, on: ["6.1", "sid"] },
  "syscalls-svm": { seconds: 80, on: ["6.1"] },
  suites: { seconds: 100, on: ["6.1"] },
  "suites-svm": { seconds: 100, on: ["6.1"] },
  "kkm-bench": { seconds: 10, on: ["6.1"] },
  "kkm-bench-count": { seconds: 10, on: ["6.1"] },
  "kkm-pair": { seconds: 10, on: ["6.1"] },
  "kkm-pair-count": { seconds: 10, on: ["6.1"] },
  install: { seconds: 300, on: ["6.1"] },
  "install-dkms": { seconds: 300, on: [] },
  "install-kvm": { seconds: 30, on: ["6.1"] },
};

const LONG_SECONDS = 250;

/** Of a suite that is not named above. */
const usual: Habit = { seconds: 10 };

function habit(suite: Suite): Habit {
  return HABITS[suite.name] ?? usual;
}

export interface Cell {
  readonly kernel: Kernel;
  readonly suite: Suite;
}

/** `n/a`: makes no sense. `-`: left out of this run. */
export type Absence = "n/a" | "-";

export interface Choice {
  /** In the order to run them. */
  readonly cells: readonly Cell[];
  /** Why a cell of the table is not among them; undefined when it is. */
  readonly absent: (kernel: Kernel, suite: Suite) => Absence | undefined;
  readonly leftOut: number;
}

export interface Wish {
  readonly kernels: readonly Kernel[];
  readonly suites: readonly Suite[];
  /** The kernels were named. */
  readonly namedKernels: boolean;
  /** The suites were named: then they run on every kernel there is to choose from. */
  readonly namedSuites: boolean;
  readonly all: boolean;
}

function inDefaultTable(suite: Suite, kernel: Kernel, wish: Wish): boolean {
  const { on } = habit(suite);
  // a kernel of our own making stands in no one's place, and is slow: it is asked for by name
  if ("config" in kernel) return wish.namedKernels && !on;
  return !on || on.includes(kernel.id);
}

/** What needs two processors and is short shows early whether there is something amiss; what is long comes last. */
function rank({ suite }: Cell): number {
  if (suite.cpus === 1) return 1;
  return habit(suite).seconds < LONG_SECONDS ? 0 : 2;
}

export function choose(wish: Wish): Choice {
  const absent = (kernel: Kernel, suite: Suite): Absence | undefined => {
    if (notApplicable(suite, kernel)) return "n/a";
    if (wish.all || wish.namedSuites) return undefined;
    return inDefaultTable(suite, kernel, wish) ? undefined : "-";
  };
  const every = wish.kernels.flatMap((kernel) => wish.suites.map((suite): Cell => ({ kernel, suite })));
  const cells = every.filter(({ kernel, suite }) => absent(kernel, suite) === undefined);
  const leftOut = every.filter(({ kernel, suite }) => absent(kernel, suite) === "-").length;
  cells.sort((a, b) => rank(a) - rank(b) || habit(b.suite).seconds - habit(a.suite).seconds);
  return { cells, absent, leftOut };
}

/** Minutes on this host, were it quiet: guests side by side, one processor each. */
export function roughMinutes(cells: readonly Cell[], jobs = Number.POSITIVE_INFINITY): number {
  const processors = availableParallelism();
  const seconds = cells.map(({ suite }) => {
    const width = jobs === 1 ? processors : Math.min(suite.cpus, processors);
    return (habit(suite).seconds * width) / processors;
  });
  return seconds.reduce((sum, one) => sum + one, 0) / 60;
}

/** Names in the table above that no suite has. */
export function strangers(suites: readonly Suite[]): string[] {
  return Object.keys(HABITS).filter((name) => !suites.some((suite) => suite.name === name));
}
