// SPDX-License-Identifier: Apache-2.0
// launch(): one program in a machine of its own, as easy as child_process.spawn.
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { EventEmitter, on } from "node:events";
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, rmdir, unlink, writeFile } from "node:fs/promises";
import { constants as osConstants, tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { errorCode } from "../base/files.js";
import { MonitorError } from "./errors.js";
import { cgroupPlace, type FileAccess, jailCommand } from "./jail.js";
import { ask, type MachineStatus, socketsOf } from "./registry.js";
import { type Usage, usage } from "./watch.js";

export interface LaunchOptions {
  /** The payload's whole environment; default: this process's. */
  env?: Record<string, string | undefined>;
  cwd?: string;
  /** As for child_process.spawn; default: pipes. */
  stdio?: StdioOptions;
  /** Device node; default: the first usable of /dev/kontain, /dev/kvm, /dev/kkm. */
  device?: string;
  /** Bytes resident in the machine and all it forks. By cgroup v2 where delegated, else watched every 20 ms. */
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

/** Why a machine ended. The limits are told apart from what the payload did by itself. */
export type EndReason = "exited" | "signal" | "timeout" | "memory" | "cpu" | "aborted" | "killed";

export interface Ending {
  reason: EndReason;
  /** The payload's exit code, or null. */
  exitCode: number | null;
  /** The signal that ended it, or null. */
  signal: NodeJS.Signals | null;
  /** As a shell shows it: exit code, or 128 + signal number. */
  status: number;
  durationMs: number;
}

export type MachineEvent =
  | { type: "started"; pid: number }
  | { type: "syscall-refused"; text: string }
  | { type: "syscall"; text: string }
  | { type: "out-of-memory"; memoryBytes: number }
  | { type: "exited"; ending: Ending };

const WATCH_MS = 20;
const DEVICES = ["/dev/kontain", "/dev/kvm", "/dev/kkm"];
/** The monitor's own memory on top of the payload's: libc, page tables, a stack per thread. */
const OVERHEAD = 64 << 20;
/** Exit status of km when the device failed under the payload (native/machine/guest_thread.h). */
const MACHINE_FAILURE = 3;

function findKm(wanted?: string): string {
  const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
  const build = process.env.KONTAIN_BUILD_DIR ?? join(root, "build");
  const places = wanted ? [wanted] : [process.env.KONTAIN_KM, join(build, "bin/km"), "/opt/kontain/bin/km"];
  const found = places.find((path) => path && existsSync(path));
  if (found) return resolve(found);
  throw new MonitorError("ERR_KM_NO_MONITOR", `no monitor: ${wanted ?? "build it, or run kontain-install"}`);
}

function findDevice(wanted?: string): string {
  const present = (wanted ? [wanted] : DEVICES).filter((path) => existsSync(path));
  const usable = present.find((path) => {
    try {
      accessSync(path, constants.R_OK | constants.W_OK);
      return statSync(path).isCharacterDevice();
    } catch {
      return false;
    }
  });
  if (usable) return usable;
  const why =
    present.length > 0 ? `no permission for ${present[0]}` : `${wanted ?? DEVICES.join(", ")} is not there`;
  throw new MonitorError("ERR_KM_NO_DEVICE", `${why}; \`kontain doctor\` says what to do`);
}

/** As execvp(3) finds it. */
function findProgram(program: string, path: string): string {
  const candidates = program.includes("/")
    ? [program]
    : path.split(delimiter).map((dir) => join(dir, program));
  for (const file of candidates) {
    try {
      accessSync(file, constants.X_OK);
      if (statSync(file).isFile()) return resolve(file);
    } catch {}
  }
  throw new MonitorError("ERR_KM_NOT_EXECUTABLE", `'${program}' is not an executable file`);
}

function positive(name: string, value: number | undefined): void {
  if (value === undefined || (Number.isFinite(value) && value > 0)) return;
  throw new MonitorError("ERR_KM_LIMIT", `${name} must be a positive number, not ${value}`);
}

/** Resource limits as a backstop for a watcher that comes too late (prlimit(1)). */
function backstop(options: LaunchOptions): string[] {
  const words: string[] = [];
  if (options.memoryLimit) words.push(`--data=${2 * options.memoryLimit + OVERHEAD}`);
  if (options.cpuLimit) words.push(`--cpu=${Math.ceil(options.cpuLimit / 1000) + 1}`);
  return words.length > 0 ? ["prlimit", "--core=0", ...words, "--"] : [];
}

/** A running machine. Leaving an `await using` block kills it. */
export class LaunchedMachine implements AsyncDisposable {
  readonly pid: number;
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  #child: ChildProcess;
  #events = new EventEmitter();
  #past: MachineEvent[] = [];
  #started = performance.now();
  #reason: EndReason | undefined;
  #timers: NodeJS.Timeout[] = [];
  #scratch: Scratch;
  #ending: Promise<Ending>;
  #said = "";

  /** @internal use launch() */
  constructor(child: ChildProcess, options: LaunchOptions, scratch: Scratch) {
    this.#child = child;
    this.#scratch = scratch;
    this.pid = child.pid as number;
    this.stdin = child.stdin;
    this.stdout = child.stdout;
    this.stderr = child.stderr;
    this.#events.setMaxListeners(0);
    child.stderr?.on("data", (chunk) => {
      this.#said = (this.#said + chunk).slice(-1000);
    });
    this.#ending = this.#end();
    this.#ending.catch(() => {}); // told by wait()
    this.#emit({ type: "started", pid: this.pid });
    if (options.timeout) this.#later(() => this.#breach("timeout"), options.timeout);
    if (options.memoryLimit || options.cpuLimit) this.#watch(options);
    if (scratch.log) this.#followLog(scratch.log);
    if (options.signal?.aborted) this.#breach("aborted");
    options.signal?.addEventListener("abort", () => this.#breach("aborted"), { once: true });
  }

  /** How it ended. Rejects with ERR_KM_MONITOR_DIED when the device failed under it. Streams must be read or ignored. */
  wait(): Promise<Ending> {
    return this.#ending;
  }

  /** Sends a signal; SIGKILL goes to everything it forked as well. False when it has ended. */
  kill(signal: NodeJS.Signals = "SIGTERM"): boolean {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return false;
    if (signal !== "SIGKILL") return this.#child.kill(signal);
    this.#reason ??= "killed";
    return this.#killAll();
  }

  /** What it uses now, from outside; and what it says of itself when its socket is in reach. */
  async stats(): Promise<Usage & { status?: MachineStatus }> {
    const [used, sockets] = await Promise.all([usage(this.pid), socketsOf(this.pid)]);
    const status = sockets[0] ? await ask(sockets[0], "status").catch(() => undefined) : undefined;
    return status ? { ...used, status: status as unknown as MachineStatus } : used;
  }

  /** Everything that happened and happens, up to "exited". */
  async *[Symbol.asyncIterator](): AsyncGenerator<MachineEvent> {
    const live = on(this.#events, "event");
    for (const event of [...this.#past]) {
      yield event;
      if (event.type === "exited") return;
    }
    for await (const [event] of live as AsyncIterable<[MachineEvent]>) {
      yield event;
      if (event.type === "exited") return;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.#ending.catch(() => {});
  }

  #emit(event: MachineEvent): void {
    if (this.#past.length < 10_000) this.#past.push(event);
    this.#events.emit("event", event);
  }

  #later(action: () => void, milliseconds: number): void {
    this.#timers.push(setTimeout(action, milliseconds).unref());
  }

  #killAll(): boolean {
    try {
      process.kill(-this.pid, "SIGKILL"); // its own group, see launch()
    } catch {
      return this.#child.kill("SIGKILL");
    }
    if (this.#scratch.cgroup) void writeFile(join(this.#scratch.cgroup, "cgroup.kill"), "1").catch(() => {});
    return true;
  }

  #breach(reason: EndReason): void {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#reason ??= reason;
    this.#killAll();
  }

  #watch(options: LaunchOptions): void {
    const look = async () => {
      const used = await usage(this.pid);
      if (options.memoryLimit && used.memoryBytes > options.memoryLimit) {
        this.#emit({ type: "out-of-memory", memoryBytes: used.memoryBytes });
        this.#breach("memory");
      } else if (options.cpuLimit && used.cpuMs > options.cpuLimit) this.#breach("cpu");
      else if (this.#child.exitCode === null && this.#child.signalCode === null) this.#later(look, WATCH_MS);
    };
    void look();
  }

  #followLog(path: string): void {
    let seen = 0;
    const look = async () => {
      const text = await readFile(path, "utf8").catch(() => "");
      const end = text.lastIndexOf("\n") + 1;
      for (const line of text.slice(seen, end).split("\n")) this.#logLine(line);
      seen = end;
    };
    const repeat = async () => {
      await look();
      if (this.#child.exitCode === null && this.#child.signalCode === null) this.#later(repeat, 100);
    };
    void repeat();
    this.#scratch.drain = look;
  }

  /** `HH:MM:SS.uuuuuu <function> <line> <thread> text` (native/base/log.h) */
  #logLine(line: string): void {
    const match = /^\S+ (\S+) +\d+ \S+ (.*)$/.exec(line);
    if (match?.[1] === "trace") this.#emit({ type: "syscall", text: match[2] ?? "" });
    else if (match?.[2]?.startsWith("system call ")) this.#emit({ type: "syscall-refused", text: match[2] });
  }

  async #end(): Promise<Ending> {
    const [exitCode, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((done) => {
      this.#child.once("close", (code, name) => done([code, name]));
    });
    for (const timer of this.#timers) clearTimeout(timer);
    const durationMs = performance.now() - this.#started;
    await this.#scratch.drain?.();
    const reason = (await this.#outOfMemory()) ?? this.#reason ?? (signal ? "signal" : "exited");
    await this.#scratch.remove(this.pid, signal !== null);
    if (exitCode === MACHINE_FAILURE && /^km: .*report it$/m.test(this.#said)) {
      throw new MonitorError("ERR_KM_MONITOR_DIED", this.#said.trim().split("\n").at(-1) ?? "");
    }
    const status = exitCode ?? 128 + (signal ? osConstants.signals[signal] : 0);
    const ending: Ending = { reason, exitCode, signal, status, durationMs };
    this.#emit({ type: "exited", ending });
    return ending;
  }

  /** The kernel's own word where a cgroup holds the machine. */
  async #outOfMemory(): Promise<"memory" | undefined> {
    if (!this.#scratch.cgroup) return undefined;
    const text = await readFile(join(this.#scratch.cgroup, "memory.events"), "utf8").catch(() => "");
    return /^oom_kill [1-9]/m.test(text) ? "memory" : undefined;
  }
}

/** What a launch leaves on the host while it runs. */
interface Scratch {
  cgroup?: string;
  log?: string;
  drain?: () => Promise<void>;
  remove(pid: number, killed: boolean): Promise<void>;
}

async function makeScratch(options: LaunchOptions): Promise<Scratch> {
  const scratch: Scratch = {
    async remove(pid, killed) {
      if (scratch.log) await rm(dirname(scratch.log), { recursive: true, force: true });
      if (scratch.cgroup) await rmdir(scratch.cgroup).catch(() => {});
      // A killed monitor could not take its name back.
      if (killed) for (const socket of await socketsOf(pid)) await unlink(socket).catch(() => {});
    },
  };
  const place = options.memoryLimit ? await cgroupPlace() : undefined;
  if (place) {
    const cgroup = join(place, `kontain-${process.pid}-${Math.random().toString(36).slice(2)}`);
    await mkdir(cgroup);
    await writeFile(join(cgroup, "memory.max"), String(options.memoryLimit));
    await writeFile(join(cgroup, "memory.swap.max"), "0").catch(() => {}); // no swap controller: nothing to limit
    await writeFile(join(cgroup, "memory.oom.group"), "1");
    scratch.cgroup = cgroup;
  }
  if (options.trace || options.refusals) {
    scratch.log = join(await mkdtemp(join(tmpdir(), "kontain-launch-")), "km.log");
    await writeFile(scratch.log, "");
  }
  return scratch;
}

/**
 * Runs `program` in a machine of its own.
 *
 * @param program path, or a name to be found in PATH
 * @param args its arguments, without argv[0]
 * @returns when km has been started
 * @throws MonitorError ERR_KM_NO_MONITOR, ERR_KM_NO_DEVICE, ERR_KM_NOT_EXECUTABLE, ERR_KM_LIMIT
 */
export async function launch(
  program: string,
  args: readonly string[] = [],
  options: LaunchOptions = {},
): Promise<LaunchedMachine> {
  for (const name of ["memoryLimit", "cpuLimit", "timeout"] as const) positive(name, options[name]);
  const env = options.env ?? process.env;
  const km = findKm(options.km);
  const device = findDevice(options.device);
  const file = findProgram(program, env.PATH ?? "/usr/local/bin:/usr/bin:/bin");
  const cwd = resolve(options.cwd ?? (options.files ? "/tmp" : process.cwd()));
  const scratch = await makeScratch(options);
  const own: FileAccess | undefined = options.files && {
    read: [file, ...(options.files.read ?? [])],
    write: [...(scratch.log ? [scratch.log] : []), ...(options.files.write ?? [])],
  };
  const words = await jailCommand({
    ...(own ? { files: own } : {}),
    ...(scratch.cgroup ? { cgroup: scratch.cgroup } : {}),
    network: options.network ?? true,
    device,
    cwd,
    km,
  });
  words.unshift(...backstop(options));
  words.push(km, `--virt-device=${device}`);
  if (scratch.log) words.push(`--km-log-to=${scratch.log}`);
  if (options.trace) words.push(`--trace=${options.trace === true ? "all" : options.trace}`);
  words.push("--", file, ...args);
  const [command, ...rest] = words as [string, ...string[]];
  const child = spawn(command, rest, {
    cwd: options.files ? "/" : cwd,
    env,
    stdio: options.stdio ?? "pipe",
    detached: options.stdio !== "inherit", // a group of its own, unless it shares this terminal
  });
  await new Promise<void>((started, failed) => {
    child.once("spawn", started);
    child.once("error", failed);
  }).catch(async (error) => {
    await scratch.remove(0, false);
    const what = errorCode(error) === "ENOENT" ? `${command} or ${cwd} is not there` : String(error);
    throw new MonitorError("ERR_KM_NO_MONITOR", what, { cause: error });
  });
  return new LaunchedMachine(child, options, scratch);
}
