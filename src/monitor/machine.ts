// SPDX-License-Identifier: Apache-2.0
// A machine that launch() started: its limits while it runs, and the truth about its end.
import type { ChildProcess } from "node:child_process";
import { constants } from "node:os";
import type { Readable, Writable } from "node:stream";
import { type Ending, type EndReason, EventLog, type MachineEvent } from "./events.js";
import type { LaunchOptions } from "./launch.js";
import { LogTail } from "./log-tail.js";
import { type MachineStatus, machineStatus } from "./protocol.js";
import { socketsOf, stop } from "./registry.js";
import type { Scratch } from "./scratch.js";
import { descendants, type Usage, usage } from "./watch.js";

const WATCH_MS = 20;
const LOG_MS = 100;

/** Calls `look` again and again until it says false or stop() is called. Does not keep the process alive. */
class Repeat {
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(look: () => Promise<boolean>, milliseconds: number) {
    const again = async () => {
      if (this.#stopped || !(await look()) || this.#stopped) return;
      this.#timer = setTimeout(again, milliseconds).unref();
    };
    void again();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}

/** A running machine. Leaving an `await using` block kills it. */
export class LaunchedMachine implements AsyncDisposable, AsyncIterable<MachineEvent> {
  /** Process id of km on the host; with `files`, of the process that keeps its namespaces. */
  readonly pid: number;
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  #child: ChildProcess;
  #scratch: Scratch;
  /** Whether it leads a process group of its own. */
  #group: boolean;
  /** Whether it has a pid namespace. */
  #jailed: boolean;
  #events = new EventLog();
  #started = performance.now();
  #reason: EndReason | undefined;
  #repeats: Repeat[] = [];
  #ending: Promise<Ending>;

  /** @internal use launch() */
  constructor(child: ChildProcess, options: LaunchOptions, scratch: Scratch, group: boolean) {
    this.#child = child;
    this.#scratch = scratch;
    this.#group = group;
    this.#jailed = options.files !== undefined;
    this.pid = child.pid as number;
    this.stdin = child.stdin;
    this.stdout = child.stdout;
    this.stderr = child.stderr;
    this.#events.add({ type: "started", pid: this.pid });
    this.#ending = this.#run(options);
    this.#ending.catch(() => {}); // told by wait()
  }

  /**
   * How it ended, once its streams are closed as well: read them, or launch with `stdio: "ignore"`.
   * @throws MonitorError ERR_KM_MONITOR_DIED when the device failed under it or the monitor crashed,
   *   ERR_KM_NOT_EXECUTABLE and ERR_KM_NO_DEVICE when km found out what launch() could not, ERR_KM_LIMIT when a limit
   *   could not be set up
   */
  wait(): Promise<Ending> {
    return this.#ending;
  }

  /**
   * Sends a signal to the payload; SIGKILL goes to everything it forked as well.
   * @returns false when it has ended
   */
  kill(signal: NodeJS.Signals = "SIGTERM"): boolean {
    if (this.#over) return false;
    if (signal === "SIGKILL") this.#breach("killed");
    else if (!this.#jailed) return this.#child.kill(signal);
    else void this.#tell(signal);
    return true;
  }

  /** Pid 1 of a namespace gets no signal it has no handler for, and unshare(1) none at all: km does it itself. */
  async #tell(signal: NodeJS.Signals): Promise<void> {
    const [socket] = await this.#sockets();
    if (socket) await stop(socket, constants.signals[signal]).catch(() => {}); // it ended meanwhile
  }

  /** What it uses now, seen from outside; and what it says of itself, when it answers. */
  async stats(): Promise<Usage & { status?: MachineStatus }> {
    const [used, sockets] = await Promise.all([this.#usage(), this.#sockets()]);
    const status = sockets[0] ? await machineStatus(sockets[0]).catch(() => undefined) : undefined;
    return status ? { ...used, status } : used;
  }

  /** Everything that happened and happens, up to "exited" or "failed". */
  [Symbol.asyncIterator](): AsyncGenerator<MachineEvent> {
    return this.#events[Symbol.asyncIterator]();
  }

  /** Kills it and waits for its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.#ending.catch(() => {});
  }

  get #over(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  #usage(): Promise<Usage> {
    return this.#scratch.cgroup ? this.#scratch.cgroup.usage() : usage(this.pid);
  }

  async #sockets(): Promise<string[]> {
    for (const pid of await descendants(this.pid)) {
      const sockets = await socketsOf(pid);
      if (sockets.length > 0) return sockets;
    }
    return [];
  }

  #breach(reason: EndReason): void {
    if (this.#over) return;
    this.#reason ??= reason;
    void this.#scratch.cgroup?.kill();
    try {
      if (this.#group) process.kill(-this.pid, "SIGKILL");
      else void this.#killTree();
    } catch {
      this.#child.kill("SIGKILL");
    }
  }

  /** It shares this process's group: its descendants one by one, oldest first, so that none makes new ones. */
  async #killTree(): Promise<void> {
    for (const pid of await descendants(this.pid)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // Gone by itself.
      }
    }
  }

  /** Compares with the limits the kernel does not enforce by itself. False: nothing is left to watch. */
  async #look({ memoryLimit, cpuLimit }: LaunchOptions): Promise<boolean> {
    const used = await this.#usage();
    if (this.#over || this.#reason) return false;
    const watched = memoryLimit && !this.#scratch.cgroup?.limitsMemory;
    if (watched && used.memoryBytes > memoryLimit) {
      this.#events.add({ type: "out-of-memory", memoryBytes: used.memoryBytes });
      this.#breach("memory");
    } else if (cpuLimit && used.cpuMs > cpuLimit) this.#breach("cpu");
    return true;
  }

  async #run(options: LaunchOptions): Promise<Ending> {
    const timer = options.timeout && setTimeout(() => this.#breach("timeout"), options.timeout).unref();
    const abort = () => this.#breach("aborted");
    options.signal?.addEventListener("abort", abort);
    if (options.signal?.aborted) abort();
    const watched = options.cpuLimit || (options.memoryLimit && !this.#scratch.cgroup?.limitsMemory);
    if (watched) this.#repeats.push(new Repeat(() => this.#look(options), WATCH_MS));
    const path = this.#scratch.log;
    const log = path ? new LogTail(path, (event) => this.#events.add(event)) : undefined;
    if (log) this.#repeats.push(new Repeat(() => log.read().then(() => !this.#over), LOG_MS));
    try {
      let [exitCode, signal] = await this.#closed();
      signal ??= this.#scratch.status.signal ?? null;
      if (signal) exitCode = null;
      await log?.read();
      return await this.#end(options, exitCode, signal);
    } finally {
      for (const repeat of this.#repeats) repeat.stop();
      clearTimeout(timer || undefined);
      options.signal?.removeEventListener("abort", abort);
      await log?.close();
      await this.#scratch.remove(this.#child.signalCode === null ? undefined : this.pid);
    }
  }

  #closed(): Promise<[number | null, NodeJS.Signals | null]> {
    return new Promise((done) => {
      this.#child.once("close", (code, name) => done([code, name]));
    });
  }

  async #end(
    options: LaunchOptions,
    exitCode: number | null,
    signal: NodeJS.Signals | null,
  ): Promise<Ending> {
    const durationMs = performance.now() - this.#started;
    const reason =
      (await this.#kernelsReason(options, exitCode !== 0)) ?? this.#reason ?? (signal ? "signal" : "exited");
    const error =
      reason === "exited" || reason === "signal" ? this.#scratch.status.failure(exitCode) : undefined;
    if (error) {
      this.#events.add({ type: "failed", error });
      throw error;
    }
    const status = exitCode ?? 128 + (signal ? constants.signals[signal] : 0);
    const ending: Ending = { reason, exitCode, signal, status, durationMs };
    this.#events.add({ type: "exited", ending });
    return ending;
  }

  /** What this process did not see coming: the kernel's OOM kill, or a resource limit met between two looks. */
  async #kernelsReason(
    { memoryLimit, cpuLimit }: LaunchOptions,
    failed: boolean,
  ): Promise<EndReason | undefined> {
    const { cgroup, status } = this.#scratch;
    const outOfMemory = cgroup?.limitsMemory
      ? (await cgroup.outOfMemory()) > 0
      : memoryLimit && failed && !this.#reason && status.refusedMemory; // RLIMIT_DATA
    if (outOfMemory) {
      this.#events.add({ type: "out-of-memory", memoryBytes: memoryLimit ?? 0 });
      return "memory";
    }
    if (!cpuLimit || this.#reason || !failed) return undefined;
    if (this.#child.signalCode === "SIGXCPU") return "cpu"; // RLIMIT_CPU (setrlimit(2))
    return cgroup && (await cgroup.usage()).cpuMs > cpuLimit ? "cpu" : undefined;
  }
}
