// SPDX-License-Identifier: Apache-2.0
// What happens to a machine, in order, for any number of readers, also those who come late.
import type { MonitorError } from "./errors.js";

/** Why a machine ended. The limits are told apart from what the payload did by itself. */
export type EndReason =
  /** It called exit(). */
  | "exited"
  /** A signal ended it: its own fault, or somebody else's kill. */
  | "signal"
  /** Longer than `timeout`. */
  | "timeout"
  /** More than `memoryLimit`. */
  | "memory"
  /** More than `cpuLimit`. */
  | "cpu"
  /** LaunchOptions.signal was aborted. */
  | "aborted"
  /** kill("SIGKILL") or the end of an `await using` block. */
  | "killed";

export interface Ending {
  reason: EndReason;
  /** The payload's exit code, or null. */
  exitCode: number | null;
  /** The signal that ended it, or null. */
  signal: NodeJS.Signals | null;
  /** As a shell shows it: exit code, or 128 + signal number. */
  status: number;
  /** Wall-clock time from spawn to end. */
  durationMs: number;
}

export type MachineEvent =
  /** km was started; `pid` is its process, with `files` its keeper's. */
  | { type: "started"; pid: number }
  /** A system call km does not do, once per call and payload. With `refusals` or `trace`. */
  | { type: "syscall-refused"; text: string }
  /** With `trace`. */
  | { type: "syscall"; text: string }
  /** `memoryLimit` was exceeded; bytes seen last. */
  | { type: "out-of-memory"; memoryBytes: number }
  /** The reader was too slow, or late, for so many events. */
  | { type: "lost"; count: number }
  | { type: "exited"; ending: Ending }
  /** The monitor did not bring the payload to its end: what wait() rejects with. */
  | { type: "failed"; error: MonitorError };

const KEPT = 10_000;

/** Keeps the last events. Ends with "exited" or "failed". */
export class EventLog implements AsyncIterable<MachineEvent> {
  #events: MachineEvent[] = [];
  /** Number of the first one kept. */
  #first = 0;
  #ended = false;
  #waiting: (() => void)[] = [];

  add(event: MachineEvent): void {
    this.#events.push(event);
    this.#ended = event.type === "exited" || event.type === "failed";
    // Not one by one: shifting a long array moves all of it.
    if (this.#events.length > 2 * KEPT) this.#first += this.#events.splice(0, KEPT).length;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<MachineEvent> {
    let next = 0;
    for (;;) {
      if (next < this.#first) {
        yield { type: "lost", count: this.#first - next };
        next = this.#first;
      }
      const event = this.#events[next - this.#first];
      if (event) {
        next++;
        yield event;
      } else if (this.#ended) return;
      else await new Promise<void>((wake) => this.#waiting.push(wake));
    }
  }
}
