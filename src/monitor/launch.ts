// SPDX-License-Identifier: Apache-2.0
// launch(): one program in a machine of its own, as easy as child_process.spawn.
import { type StdioOptions, spawn } from "node:child_process";
import { resolve } from "node:path";
import { errorCode } from "../base/files.js";
import { MonitorError } from "./errors.js";
import { findDevice, findMonitor, findProgram } from "./find.js";
import { type FileAccess, jailCommand } from "./jail.js";
import { LaunchedMachine } from "./machine.js";
import { Scratch } from "./scratch.js";

export interface LaunchOptions {
  /** The payload's whole environment; default: this process's. */
  env?: Record<string, string | undefined>;
  /** Working directory; default: this process's, with `files` /tmp. */
  cwd?: string;
  /** As for child_process.spawn, at most six; default: pipes. */
  stdio?: StdioOptions;
  /** Device node; default: the first usable of /dev/kontain, /dev/kvm, /dev/kkm. */
  device?: string;
  /** Bytes the machine and all it forks may have. By cgroup v2 where delegated, else watched every 20 ms. */
  memoryLimit?: number;
  /** CPU time in milliseconds, of the machine and all it forks. */
  cpuLimit?: number;
  /** Wall-clock time in milliseconds. */
  timeout?: number;
  /** Only these host paths exist for the payload, which then also loses all capabilities. Default: all, as for spawn. */
  files?: FileAccess;
  /** false: no network but an unconfigured loopback. Default: the host's. */
  network?: boolean;
  /** Reports system calls as events: true, or km's --trace classes ("file,net"). */
  trace?: boolean | string;
  /** Reports refused system calls as events; implied by `trace`. Costs a log file. */
  refusals?: boolean;
  /** Aborting kills the machine; wait() then tells "aborted". */
  signal?: AbortSignal;
  /** Path of km; default: KONTAIN_KM, this package's build, /opt/kontain/bin/km. */
  km?: string;
}

/** The monitor's own memory on top of the payload's: libc, page tables, a stack per thread. */
const OVERHEAD = 64 << 20;
/** Shells redirect one-digit descriptors only; 9 is the jail's own. */
const MOST_STDIO = 6;

function checkLimits(options: LaunchOptions): void {
  for (const name of ["memoryLimit", "cpuLimit", "timeout"] as const) {
    const value = options[name];
    if (value === undefined || (Number.isFinite(value) && value > 0)) continue;
    throw new MonitorError("ERR_KM_LIMIT", `${name} must be a positive number, not ${value}`);
  }
}

/** The payload's streams, and behind them the descriptor of the status file. */
function streams(options: LaunchOptions, statusFd: number) {
  const wanted = options.stdio ?? "pipe";
  const list = Array.isArray(wanted) ? [...wanted] : [wanted, wanted, wanted];
  while (list.length < 3) list.push("pipe");
  if (list.length > MOST_STDIO)
    throw new MonitorError(
      "ERR_KM_LIMIT",
      `stdio: ${list.length} streams; at most ${MOST_STDIO} are possible`,
    );
  return { stdio: [...list, statusFd] as StdioOptions, statusFd: list.length };
}

/** km's command line with everything that goes before it. */
async function commandLine(
  program: string,
  args: readonly string[],
  options: LaunchOptions,
  scratch: Scratch,
  fd: number,
) {
  const env = options.env ?? process.env;
  const { memoryLimit, cpuLimit, timeout, files } = options;
  const km = findMonitor(options.km);
  const device = findDevice(options.device);
  const file = findProgram(program, env.PATH ?? "/usr/local/bin:/usr/bin:/bin");
  const { log, cgroup } = scratch;
  const jail = {
    ...(files && {
      files: { read: [file, ...(files.read ?? [])], write: [...(log ? [log] : []), ...(files.write ?? [])] },
    }),
    ...(cgroup && { cgroup: cgroup.directory }),
    // A backstop for a watcher that comes too late.
    ...(memoryLimit && !cgroup?.limitsMemory && { dataBytes: 2 * memoryLimit + OVERHEAD }),
    ...(cpuLimit && { cpuSeconds: cpuLimit / 1000 + 1 }),
    network: options.network ?? true,
    device,
    cwd: workingDirectory(options),
    km,
    env,
    statusFd: fd,
  };
  const words = await jailCommand(jail, Boolean(memoryLimit || cpuLimit || timeout));
  words.push(km, `--virt-device=${device}`, `--status-fd=${fd}`);
  if (log) words.push(`--km-log-to=${log}`);
  if (options.trace) words.push(`--trace=${options.trace === true ? "all" : options.trace}`);
  return [...words, "--", file, ...args] as [string, ...string[]];
}

const workingDirectory = (options: LaunchOptions) =>
  resolve(options.cwd ?? (options.files ? "/tmp" : process.cwd()));

async function start(
  program: string,
  args: readonly string[],
  options: LaunchOptions,
  scratch: Scratch,
): Promise<LaunchedMachine> {
  const { stdio, statusFd } = streams(options, scratch.status.fd);
  const [command, ...rest] = await commandLine(program, args, options, scratch, statusFd);
  const cwd = options.files ? "/" : workingDirectory(options);
  const group = options.stdio !== "inherit"; // unless it shares this terminal
  const child = spawn(command, rest, { cwd, env: options.env ?? process.env, stdio, detached: group });
  await new Promise<void>((started, failed) => {
    child.once("spawn", started);
    child.once("error", failed);
  }).catch((error) => {
    const what = errorCode(error) === "ENOENT" ? `${command} or ${cwd} is not there` : String(error);
    throw new MonitorError("ERR_KM_NO_MONITOR", what, { cause: error });
  });
  return new LaunchedMachine(child, options, scratch, group);
}

/**
 * Runs `program` in a machine of its own.
 *
 * A machine with a limit does not outlive the thread that launched it. One without runs on, as with
 * child_process.spawn.
 *
 * @param program path, or a name to be found in PATH
 * @param args its arguments, without argv[0]
 * @returns when km has been started
 * @throws MonitorError ERR_KM_NO_MONITOR, ERR_KM_NO_DEVICE, ERR_KM_NOT_EXECUTABLE, ERR_KM_LIMIT; the reason of
 *   `options.signal` when that was aborted before
 */
export async function launch(
  program: string,
  args: readonly string[] = [],
  options: LaunchOptions = {},
): Promise<LaunchedMachine> {
  options.signal?.throwIfAborted();
  checkLimits(options);
  const { memoryLimit, cpuLimit, timeout } = options;
  const scratch = await Scratch.create(
    Boolean(memoryLimit || cpuLimit || timeout),
    memoryLimit,
    Boolean(options.trace || options.refusals),
  );
  return start(program, args, options, scratch).catch(async (error) => {
    await scratch.remove(undefined);
    throw error;
  });
}
