// SPDX-License-Identifier: Apache-2.0
// Follows the log file of a monitor and tells traced and refused system calls apart.
import { type FileHandle, open } from "node:fs/promises";
import type { MachineEvent } from "./events.js";

const CHUNK = 64 * 1024;

/** `HH:MM:SS.uuuuuu <function> <line> <thread> text` (native/base/log.h); undefined for what is no event. */
export function logEvent(line: string): MachineEvent | undefined {
  const match = /^\S+ (\S+) +\d+ \S+ (.*)$/.exec(line);
  const text = match?.[2] ?? "";
  if (match?.[1] === "trace") return { type: "syscall", text };
  return / is (refused|unknown)\b/.test(text) ? { type: "syscall-refused", text } : undefined;
}

export class LogTail {
  #file: Promise<FileHandle>;
  #at = 0;
  #rest = Buffer.alloc(0);
  #busy: Promise<void> = Promise.resolve();
  #emit: (event: MachineEvent) => void;

  constructor(path: string, emit: (event: MachineEvent) => void) {
    this.#file = open(path, "r");
    this.#file.catch(() => {}); // told by the first read()
    this.#emit = emit;
  }

  /** Reads what was added. One reader at a time: a call waits for the one before. */
  read(): Promise<void> {
    this.#busy = this.#busy.then(() => this.#readOn());
    return this.#busy;
  }

  async #readOn(): Promise<void> {
    const file = await this.#file;
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(CHUNK), 0, CHUNK, this.#at);
      if (bytesRead === 0) return;
      this.#at += bytesRead;
      const all = Buffer.concat([this.#rest, buffer.subarray(0, bytesRead)]);
      const end = all.lastIndexOf(0x0a) + 1;
      this.#rest = all.subarray(end);
      for (const line of all.toString("utf8", 0, end).split("\n")) {
        const event = logEvent(line);
        if (event) this.#emit(event);
      }
    }
  }

  async close(): Promise<void> {
    await this.#busy.catch(() => {});
    await (await this.#file).close();
  }
}
