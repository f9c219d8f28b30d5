// SPDX-License-Identifier: Apache-2.0
// Finds the machines that run on this host, however they were started. Each km has a socket `<pid>-<pid namespace>.sock`
// in the registry directory of the file system it sees (native/manage): that of the host, or that of a container or a
// jail, which the host reaches through /proc/PID/root.
import { lstatSync, readdirSync, readFileSync, statSync } from "node:fs";
import { lstat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errorCode } from "../base/files.js";
import { MonitorError } from "./errors.js";
import { ask, isListening, type MachineStatus, machineStatus } from "./protocol.js";

/** A machine that answered. */
export interface RunningMachine {
  /** On this host, whatever pid namespace it is in. */
  pid: number;
  /** Owner of that process, on this host. */
  uid: number;
  /** Path to connect to. */
  socket: string;
  status: MachineStatus;
}

/** A machine that is there and did not answer: stopped (SIGSTOP), or not a km. */
export interface SilentMachine {
  pid: number;
  socket: string;
  error: Error;
}

/** What a socket's name says. */
export interface SocketName {
  pid: number;
  /** Inode of the pid namespace that `pid` is a number of. */
  namespace: number;
}

const REGISTRY = "run/kontain";
const CONFIRM_MS = 200;

/** Reads `<pid>-<pid namespace>.sock`; undefined for any other name. */
export function parseSocketName(name: string): SocketName | undefined {
  const match = /^([1-9]\d{0,9})-(\d{1,10})\.sock$/.exec(name);
  return match ? { pid: Number(match[1]), namespace: Number(match[2]) } : undefined;
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function stat(path: string): { dev: number; ino: number; uid: number } | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined; // gone, or not ours to look at
  }
}

/** Registry directories of this host that this user may look into. */
function directories(): string[] {
  const own = process.env.XDG_RUNTIME_DIR;
  const users = process.getuid?.() === 0 ? list("/run/user").map((uid) => join("/run/user", uid)) : [];
  return [
    ...new Set([`/${REGISTRY}`, ...[...(own ? [own] : []), ...users].map((path) => join(path, "kontain"))]),
  ];
}

/** Processes of this user that see another root directory, by which. */
function otherRoots(): number[][] {
  const key = (path: string) => {
    const found = stat(path);
    return found && `${found.dev}:${found.ino}`;
  };
  const own = key("/");
  const roots = new Map<string, number[]>();
  for (const pid of list("/proc").map(Number).filter(Number.isInteger)) {
    const root = key(`/proc/${pid}/root`);
    if (root === undefined || root === own) continue;
    roots.set(root, [...(roots.get(root) ?? []), pid]);
  }
  return [...roots.values()];
}

const namespaceOf = (pid: number | "self") => stat(`/proc/${pid}/ns/pid`)?.ino;

/** Last number of NSpid: what the process `pid` is called in its own pid namespace (proc(5)). */
function innerPid(pid: number): number | undefined {
  try {
    return Number(/^NSpid:.*\s(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]);
  } catch {
    return undefined;
  }
}

/** The one of `pids` that is called so in its namespace. */
function hostPid(name: SocketName, pids: number[]): number | undefined {
  return pids.find((pid) => namespaceOf(pid) === name.namespace && innerPid(pid) === name.pid);
}

interface Entry {
  /** Host pid; undefined when no such process is there. */
  pid: number | undefined;
  socket: string;
  /** In a directory of the host's own, where dead names may be removed. */
  own: boolean;
}

function ownEntries(): Entry[] {
  const namespace = namespaceOf("self");
  let all: number[] | undefined;
  const pidOf = (name: SocketName) => {
    if (name.namespace === namespace) return name.pid;
    all ??= list("/proc").map(Number).filter(Number.isInteger);
    return hostPid(name, all);
  };
  return directories().flatMap((directory) =>
    list(directory).flatMap((file) => {
      const name = parseSocketName(file);
      return name ? [{ pid: pidOf(name), socket: join(directory, file), own: true }] : [];
    }),
  );
}

/** A container may put anything there: only real directories are entered, and nothing is changed in them. */
function isDirectory(path: string): boolean {
  try {
    return lstatSync(path).isDirectory();
  } catch {
    return false;
  }
}

function foreignEntries(): Entry[] {
  return otherRoots().flatMap((pids) => {
    const root = `/proc/${pids[0]}/root`;
    const directory = join(root, REGISTRY);
    if (!isDirectory(join(root, "run")) || !isDirectory(directory)) return [];
    return list(directory).flatMap((file) => {
      const name = parseSocketName(file);
      const pid = name && hostPid(name, pids);
      return pid ? [{ pid, socket: join(directory, file), own: false }] : [];
    });
  });
}

/** Removes a name nobody listens behind; an exec replaces its own within moments, so it is looked at twice. */
async function cleanStale(path: string): Promise<void> {
  const before = await lstat(path).catch(() => undefined);
  await sleep(CONFIRM_MS);
  if (await isListening(path)) return;
  const after = await lstat(path).catch(() => undefined);
  if (before && after && before.ino === after.ino) await unlink(path).catch(() => {});
}

/** Every announced machine this user may talk to; dead names are removed. */
export async function surveyMachines(): Promise<{ machines: RunningMachine[]; silent: SilentMachine[] }> {
  const machines: RunningMachine[] = [];
  const silent: SilentMachine[] = [];
  const visit = async ({ pid, socket, own }: Entry) => {
    try {
      const status = await machineStatus(socket);
      const host = pid ?? status.pid;
      machines.push({ pid: host, uid: stat(`/proc/${host}`)?.uid ?? status.uid, socket, status });
    } catch (error) {
      const code = errorCode(error);
      if (code === "ECONNREFUSED" && own) await cleanStale(socket);
      // Not another user's, and not one that ended meanwhile.
      const there = !["ECONNREFUSED", "ENOENT", "EACCES", "EPERM"].includes(code ?? "");
      if (there && pid !== undefined && stat(`/proc/${pid}`))
        silent.push({ pid, socket, error: error as Error });
    }
  };
  await Promise.all([...ownEntries(), ...foreignEntries()].map(visit));
  machines.sort((a, b) => b.status.uptimeMs - a.status.uptimeMs || a.pid - b.pid);
  return { machines, silent };
}

/** Every announced machine this user may talk to, the oldest first. */
export async function listMachines(): Promise<RunningMachine[]> {
  return (await surveyMachines()).machines;
}

/** Sockets in the host's own directories for a process of this pid namespace. */
export function ownSockets(pid: number): string[] {
  const file = `${pid}-${namespaceOf("self")}.sock`;
  return directories()
    .filter((directory) => list(directory).includes(file))
    .map((directory) => join(directory, file));
}

/** Sockets of the machine whose process on this host is `pid`: one, or none. */
export async function socketsOf(pid: number): Promise<string[]> {
  const own = ownSockets(pid);
  if (own.length > 0) return own;
  const entries = [...ownEntries(), ...foreignEntries()];
  return entries.filter((entry) => entry.pid === pid).map((entry) => entry.socket);
}

/** Sends a signal to the machine's process from within its own pid namespace. @throws MonitorError ERR_KM_NO_ANSWER */
export async function stop(socket: string, signal: number): Promise<void> {
  if (!Number.isInteger(signal))
    throw new MonitorError("ERR_KM_NO_ANSWER", `${signal} is not a signal number`);
  await ask(socket, `stop ${signal}`);
}
