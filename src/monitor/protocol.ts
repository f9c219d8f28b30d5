// SPDX-License-Identifier: Apache-2.0
// Talks to one monitor (native/manage): a line asked, a line of JSON answered. Whoever listens there may be hostile, as a
// payload may put a socket of its own where its monitor's was: nothing it sends is believed, waited for, or kept beyond
// a bound.
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { errorCode } from "../base/files.js";
import { MonitorError } from "./errors.js";

/** What a machine says of itself. Sizes in bytes, times in milliseconds. */
export interface MachineStatus {
  /** Version of the answers: 1. */
  protocol: number;
  /** In the machine's own pid namespace. */
  pid: number;
  /** In the machine's own user namespace. */
  uid: number;
  /** Path of the payload. */
  program: string;
  argv: string[];
  device: string;
  driver: "kvm" | "kkm";
  vcpus: number;
  /** Resident, of which `sharedBytes` are file pages. */
  memoryBytes: number;
  sharedBytes: number;
  uptimeMs: number;
  cpuMs: number;
  /** Where the monitor's log goes: "stderr", "none" or a path. */
  log: string;
  /** File the payload's output goes to; empty: it was inherited. */
  output: string;
}

export interface CallCounter {
  calls: number;
  errors: number;
  /** Wall-clock nanoseconds from entry to result, waiting included. */
  ns: number;
}

type Answer = Record<string, unknown>;

/**
 * How long an answer is waited for, per attempt. A loaded host may take its time, a stopped machine takes for ever. A
 * connection that falls between two instructions of the monitor raises no second signal: it is made again.
 */
const ATTEMPTS_MS = [1000, 4000];
const QUEUE_LIMIT_MS = 5000;
const MAX_LINE = 1 << 20;
const QUEUE_MS = 20;

const wrong = (path: string, what: string) => new MonitorError("ERR_KM_NO_ANSWER", `${path}: ${what}`);

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}

/** A connection. EAGAIN, a full queue of those that wait to be accepted, is no answer yet (connect(2), unix(7)). */
async function opened(path: string): Promise<Socket> {
  const deadline = performance.now() + QUEUE_LIMIT_MS;
  for (;;) {
    try {
      return await connected(path);
    } catch (error) {
      if (errorCode(error) !== "EAGAIN" || performance.now() > deadline) throw error;
      await sleep(QUEUE_MS);
    }
  }
}

/** Whether somebody listens there; one may get no answer all the same. */
export async function isListening(path: string): Promise<boolean> {
  try {
    (await connected(path)).destroy();
    return true;
  } catch (error) {
    return errorCode(error) !== "ECONNREFUSED";
  }
}

/** The lines of a connection, at most MAX_LINE characters each. */
async function* lines(path: string, socket: Socket): AsyncGenerator<string> {
  let rest = "";
  socket.setEncoding("utf8");
  for await (const chunk of socket) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    if (rest.length > MAX_LINE) throw wrong(path, "an endless line");
    yield* parts;
  }
}

function parse(path: string, line: string): Answer {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Answer;
  } catch {}
  throw wrong(path, "what came is not the protocol");
}

async function askOnce(path: string, request: string, milliseconds: number): Promise<Answer> {
  const socket = await opened(path);
  // For the whole of it: a byte now and then does not prolong it.
  const deadline = setTimeout(
    () => socket.destroy(wrong(path, `no answer within ${milliseconds} ms`)),
    milliseconds,
  );
  try {
    socket.write(`${request}\n`);
    for await (const line of lines(path, socket)) return parse(path, line);
  } finally {
    clearTimeout(deadline);
    socket.destroy();
  }
  throw wrong(path, "closed without an answer");
}

/**
 * Sends one request and returns the answer.
 * @param request docs/monitor.md lists them
 * @throws MonitorError ERR_KM_NO_ANSWER; a system error when nothing listens on the socket
 */
export async function ask(path: string, request: string): Promise<Answer> {
  let failure: unknown;
  for (const milliseconds of ATTEMPTS_MS) {
    try {
      const answer = await askOnce(path, request, milliseconds);
      if (answer.ok === true) return answer;
      throw new MonitorError("ERR_KM_NO_ANSWER", `${path}: ${String(answer.error)}`, { cause: answer });
    } catch (error) {
      failure = error;
      const silent = error instanceof MonitorError && error.cause === undefined;
      if (!silent) break;
    }
  }
  throw failure;
}

const NUMBERS = [
  "protocol",
  "pid",
  "uid",
  "vcpus",
  "memoryBytes",
  "sharedBytes",
  "uptimeMs",
  "cpuMs",
] as const;
const TEXTS = ["program", "device", "driver", "log", "output"] as const;

/** Checks that an answer is a status, and keeps what belongs to one. @throws MonitorError ERR_KM_NO_ANSWER */
export function readStatus(path: string, answer: Answer): MachineStatus {
  const good =
    NUMBERS.every((name) => Number.isSafeInteger(answer[name])) &&
    TEXTS.every((name) => typeof answer[name] === "string") &&
    Array.isArray(answer.argv) &&
    answer.argv.every((word) => typeof word === "string");
  if (!good) throw wrong(path, "what came is not a status");
  const names = [...NUMBERS, ...TEXTS, "argv"];
  return Object.fromEntries(names.map((name) => [name, answer[name]])) as unknown as MachineStatus;
}

/** What the machine behind a socket says of itself. @throws as ask() */
export async function machineStatus(path: string): Promise<MachineStatus> {
  return readStatus(path, await ask(path, "status"));
}

/** System calls made since the first time somebody asked; counting starts with the question. @throws as ask() */
export async function counters(path: string): Promise<Record<string, CallCounter>> {
  const { calls } = await ask(path, "counters");
  if (typeof calls !== "object" || calls === null) throw wrong(path, "what came are no counters");
  const counted = Object.entries(calls as Record<string, Partial<CallCounter> | null>);
  return Object.fromEntries(
    counted.map(([name, count]) => [
      name,
      { calls: Number(count?.calls), errors: Number(count?.errors), ns: Number(count?.ns) },
    ]),
  );
}

/**
 * Lines as they come: of a system-call trace (`trace CLASSES`) or of the monitor's log (`follow`). Lines a slow reader
 * missed are counted, not waited for.
 * @throws MonitorError ERR_KM_NO_ANSWER
 */
export async function* stream(
  path: string,
  request: string,
  signal?: AbortSignal,
): AsyncGenerator<{ line: string } | { dropped: number }> {
  const socket = await opened(path);
  const end = () => socket.destroy();
  signal?.addEventListener("abort", end, { once: true });
  if (signal?.aborted) end();
  else socket.write(`${request}\n`);
  let first = true;
  try {
    for await (const text of lines(path, socket)) {
      const value = parse(path, text);
      if (first && value.ok !== true) throw wrong(path, String(value.error));
      if (typeof value.line === "string") yield { line: value.line };
      else if (typeof value.dropped === "number") yield { dropped: value.dropped };
      first = false;
    }
  } catch (error) {
    // The end of either side; a socket that is destroyed while it is read says ERR_STREAM_PREMATURE_CLOSE.
    if (!signal?.aborted && errorCode(error) !== "ECONNRESET") throw error;
  } finally {
    signal?.removeEventListener("abort", end);
    socket.destroy();
  }
}
