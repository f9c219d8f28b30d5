// SPDX-License-Identifier: Apache-2.0
// Finds the machines that run on this host and talks to them: one socket each (native/manage), JSON lines.
import { lstat, readdir, unlink } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errorCode } from "../base/files.js";
import { MonitorError } from "./errors.js";

/** What a machine says of itself. Sizes in bytes, times in milliseconds. */
export interface MachineStatus {
  /** Version of the answers: 1. */
  protocol: number;
  /** In the machine's own pid namespace. */
  pid: number;
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

/** A machine that answered. */
export interface RunningMachine {
  socket: string;
  status: MachineStatus;
}

const ANSWER_MS = 5000;
/** A connection that falls between two instructions of the monitor raises no second signal: ask again. */
const ATTEMPTS = 3;
const SOCKET_NAME = /^(\d+)-\d+\.sock$/;
const MAX_LINE = 1 << 20;

/** Registry directories this user may look into. */
async function directories(): Promise<string[]> {
  const found = ["/run/kontain"];
  const own = process.env.XDG_RUNTIME_DIR;
  if (own) found.push(join(own, "kontain"));
  if (process.getuid?.() === 0) {
    const users = await readdir("/run/user").catch(() => []);
    found.push(...users.map((uid) => `/run/user/${uid}/kontain`));
  }
  return [...new Set(found)];
}

function opened(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}

/** The lines of a connection, at most MAX_LINE characters each. */
async function* lines(socket: Socket): AsyncGenerator<string> {
  let rest = "";
  socket.setEncoding("utf8");
  for await (const chunk of socket) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    if (rest.length > MAX_LINE) throw new MonitorError("ERR_KM_NO_ANSWER", "a machine sent an endless line");
    yield* parts;
  }
}

function parse(line: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {}
  throw new MonitorError("ERR_KM_NO_ANSWER", "a machine sent something that is not its protocol");
}

async function askOnce(path: string, request: string): Promise<Record<string, unknown>> {
  const socket = await opened(path);
  socket.setTimeout(ANSWER_MS, () =>
    socket.destroy(new MonitorError("ERR_KM_NO_ANSWER", `no answer on ${path} within ${ANSWER_MS} ms`)),
  );
  socket.write(`${request}\n`);
  try {
    for await (const line of lines(socket)) return parse(line);
  } finally {
    socket.destroy();
  }
  throw new MonitorError("ERR_KM_NO_ANSWER", `${path} closed without an answer`);
}

/**
 * Sends one request and returns the answer.
 * @throws MonitorError ERR_KM_NO_ANSWER; a system error when nothing listens on the socket
 */
export async function ask(path: string, request: string): Promise<Record<string, unknown>> {
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await askOnce(path, request);
      if (answer.ok === true) return answer;
      throw new MonitorError("ERR_KM_NO_ANSWER", `${path}: ${String(answer.error)}`, { cause: answer });
    } catch (error) {
      const silent = error instanceof MonitorError && error.cause === undefined;
      if (!silent || attempt === ATTEMPTS) throw error;
    }
  }
}

/** Removes a name nobody listens behind; an exec replaces its own within moments, so it is looked at twice. */
async function cleanStale(path: string): Promise<void> {
  const before = await lstat(path).catch(() => undefined);
  await sleep(200);
  const dead = await opened(path).then(
    (socket) => {
      socket.destroy();
      return false;
    },
    (error) => errorCode(error) === "ECONNREFUSED",
  );
  const after = await lstat(path).catch(() => undefined);
  if (dead && before && after && before.ino === after.ino) await unlink(path).catch(() => {});
}

/** Every announced machine this user may talk to, by age; names without a machine are removed. */
export async function listMachines(): Promise<RunningMachine[]> {
  const machines: RunningMachine[] = [];
  const visit = async (socket: string) => {
    try {
      machines.push({ socket, status: (await ask(socket, "status")) as unknown as MachineStatus });
    } catch (error) {
      if (errorCode(error) === "ECONNREFUSED") await cleanStale(socket);
    }
  };
  for (const directory of await directories()) {
    const names = await readdir(directory).catch(() => []);
    await Promise.all(
      names.filter((name) => SOCKET_NAME.test(name)).map((name) => visit(join(directory, name))),
    );
  }
  return machines.sort((a, b) => b.status.uptimeMs - a.status.uptimeMs);
}

/** Sockets of machines with this pid; several only when containers share the directory. */
export async function socketsOf(pid: number): Promise<string[]> {
  const found: string[] = [];
  for (const directory of await directories()) {
    const names = await readdir(directory).catch(() => []);
    found.push(
      ...names
        .filter((name) => SOCKET_NAME.exec(name)?.[1] === String(pid))
        .map((name) => join(directory, name)),
    );
  }
  return found;
}

/** System calls made since the first time somebody asked; counting starts with the question. */
export async function counters(socket: string): Promise<Record<string, CallCounter>> {
  return (await ask(socket, "counters")).calls as Record<string, CallCounter>;
}

/** Sends a signal to the machine's process from within its own pid namespace. */
export async function stop(socket: string, signal: number): Promise<void> {
  await ask(socket, `stop ${signal}`);
}

/**
 * Lines as they come: of a system-call trace (`trace CLASSES`) or of the monitor's log (`follow`). Lines a slow reader
 * missed are counted, not waited for.
 */
export async function* stream(
  path: string,
  request: string,
  signal?: AbortSignal,
): AsyncGenerator<{ line: string } | { dropped: number }> {
  const socket = await opened(path);
  const end = () => socket.destroy();
  signal?.addEventListener("abort", end, { once: true });
  socket.write(`${request}\n`);
  let first = true;
  try {
    for await (const text of lines(socket)) {
      const value = parse(text);
      if (!first) yield value as { line: string } | { dropped: number };
      else if (value.ok !== true)
        throw new MonitorError("ERR_KM_NO_ANSWER", `${path}: ${String(value.error)}`);
      first = false;
    }
  } catch (error) {
    if (!signal?.aborted && errorCode(error) !== "ECONNRESET") throw error;
  } finally {
    signal?.removeEventListener("abort", end);
    socket.destroy();
  }
}
