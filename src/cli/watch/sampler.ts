// SPDX-License-Identifier: Apache-2.0
// Two looks at the machines make rates: what `kontain ps --watch` shows of each.
import type { CallCounter } from "../../monitor/protocol.js";
import type { RunningMachine } from "../../monitor/registry.js";

const HISTORY = 12;

export interface Sample {
  machine: RunningMachine;
  /** Share of one CPU since the look before, 0.5 being half of it; undefined at the first. */
  cpu: number | undefined;
  /** The last values of `cpu`, the newest last. */
  history: number[];
}

export class Sampler {
  #before = new Map<string, Sample>();

  /** Takes the next look. */
  next(machines: RunningMachine[]): Sample[] {
    const samples = machines.map((machine) => this.#sample(machine));
    this.#before = new Map(samples.map((sample) => [sample.machine.socket, sample]));
    return samples;
  }

  #sample(machine: RunningMachine): Sample {
    const before = this.#before.get(machine.socket);
    const { cpuMs, uptimeMs } = machine.status;
    const elapsed = uptimeMs - (before?.machine.status.uptimeMs ?? uptimeMs);
    // Another machine may have got the pid, and with it the name: its clock began anew.
    if (!before || elapsed <= 0) return { machine, cpu: undefined, history: [] };
    const cpu = Math.max(0, cpuMs - before.machine.status.cpuMs) / elapsed;
    return { machine, cpu, history: [...before.history, cpu].slice(-HISTORY) };
  }
}

export interface CallRate {
  name: string;
  perSecond: number;
  errors: number;
  microseconds: number;
}

/** What was called between two looks at the counters, the most frequent first. */
export function callRates(
  before: Record<string, CallCounter>,
  after: Record<string, CallCounter>,
  seconds: number,
): CallRate[] {
  return Object.entries(after)
    .map(([name, now]) => {
      const then = before[name] ?? { calls: 0, errors: 0, ns: 0 };
      const calls = now.calls - then.calls;
      const microseconds = (now.ns - then.ns) / calls / 1000;
      return { name, perSecond: calls / seconds, errors: now.errors - then.errors, microseconds };
    })
    .filter((rate) => rate.perSecond > 0)
    .sort((a, b) => b.perSecond - a.perSecond);
}
