// SPDX-License-Identifier: Apache-2.0
// A booted guest that runs commands: openGuest() for many on one boot, runInGuest() for one.

import type { ChildProcess } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { cachePath } from "./cache.js";
import { decodeStatus, encodeFrame, encodeRun, type Frame, FrameReader, frame } from "./channel.js";
import { GuestError, messageOf } from "./errors.js";
import { buildInitramfs, type GuestFile } from "./initramfs.js";
import { type KernelFiles, kernelFiles } from "./kernel-files.js";
import { defaultKernel, kernelById } from "./kernels.js";
import { nestedSvmCpu, qemuPath, type Share, startQemu } from "./qemu.js";
import { directKernel } from "./vmlinux.js";

/** `initramfs`: busybox and nothing else. `root`: the host's own root, read-only under a tmpfs overlay. */
export type GuestStyle = "initramfs" | "root";

export interface GuestOptions {
  /** A kernel id of kernels.ts; the default is 6.1. */
  readonly kernel?: string;
  readonly style?: GuestStyle;
  /** Default 1: threads under nested SVM stall on two TCG CPUs. */
  readonly cpus?: number;
  readonly memoryMiB?: number;
  /** Load kvm and kvm-amd, so that /dev/kvm works by nested SVM. Default true. */
  readonly kvm?: boolean;
  /** QEMU's -cpu; the default is an EPYC with SVM and nested paging. */
  readonly cpuModel?: string;
  /** Count instructions: each takes a nanosecond of the guest's time. */
  readonly icount?: boolean;
  /** Further arguments of QEMU's, such as -smbios. */
  readonly qemu?: readonly string[];
  /** Further modules of the kernel's own package to load at boot. */
  readonly modules?: readonly string[];
  readonly kernelArgs?: readonly string[];
  /** Files put into /run/kontain-lab/suite. */
  readonly files?: readonly GuestFile[];
  /** Host directory the guest may write to, seen at /run/kontain-lab/share (style root only). */
  readonly share?: string;
  /** Boot Debian's bzImage as it is (with KASLR) rather than the kernel unpacked from it, which is much quicker. */
  readonly bzImage?: boolean;
  /** Bound on the boot; default 240. */
  readonly bootSeconds?: number;
  /** Keep the console even if all goes well. */
  readonly keep?: boolean;
}

export interface RunOptions {
  /** Default: the host's working directory in style root, / else. */
  readonly cwd?: string;
  /** Added to the guest's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Standard input, at once or as a stream; without it the command reads end of file. */
  readonly stdin?: string | Buffer | Readable;
  /** After this the command is killed; default 300. */
  readonly timeoutSeconds?: number;
  readonly onStdout?: (chunk: Buffer) => void;
  readonly onStderr?: (chunk: Buffer) => void;
}

export interface RunResult {
  /** As a shell would say it: 128 + n for signal n. */
  readonly exitCode: number;
  readonly signal: number | undefined;
  readonly timedOut: boolean;
  readonly stdout: string;
  readonly stderr: string;
  /** The same output as bytes. */
  readonly stdoutBytes: Buffer;
  readonly seconds: number;
}

interface Pending {
  readonly options: RunOptions;
  readonly stdout: Buffer[];
  readonly stderr: Buffer[];
  readonly resolve: (status: number) => void;
  readonly reject: (error: Error) => void;
}

const killGraceSeconds = 15;
const powerOffSeconds = 30;
const sigkill = 9;
const stdinChunk = 1 << 20;

const guestEnvironment: Readonly<Record<string, string>> = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  LANG: "C.UTF-8",
  TERM: "dumb",
  KONTAIN_LAB: "1",
  LAB_SUITE: "/run/kontain-lab/suite",
  LAB_SHARE: "/run/kontain-lab/share",
};

/** Scratch directories of guests that live; removed even when the process ends early. */
const workDirectories = new Set<string>();
process.once("exit", () => {
  for (const directory of workDirectories) rmSync(directory, { recursive: true, force: true });
});

function after(seconds: number): { promise: Promise<"late">; cancel: () => void } {
  let timer: NodeJS.Timeout | undefined;
  const promise = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), seconds * 1000);
  });
  return { promise, cancel: () => clearTimeout(timer) };
}

export class Guest {
  #current: Pending | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #failure: Error | undefined;
  #closing = false;
  #reader = new FrameReader();
  #hello: (release: string) => void = () => {};
  #qemuErrors = "";
  #exited: Promise<void>;
  #socket: Socket | undefined;
  /** Resolves to the kernel's release when the agent has said hello. */
  readonly booted: Promise<string>;

  constructor(
    readonly files: KernelFiles,
    readonly style: GuestStyle,
    readonly consolePath: string,
    private readonly qemu: ChildProcess,
    private readonly cleanUp: (failed: boolean) => Promise<void>,
  ) {
    this.booted = new Promise((resolve) => {
      this.#hello = resolve;
    });
    qemu.stderr?.on("data", (chunk: Buffer) => {
      this.#qemuErrors += chunk.toString();
    });
    this.#exited = new Promise((resolve) => {
      qemu.once("error", (error) => this.#fail(`cannot start QEMU: ${error.message}`));
      qemu.once("close", (code, signal) => {
        const how = signal ? `QEMU ended by ${signal}` : `QEMU ended with status ${code}`;
        // warnings are about CPU features that TCG lacks, at every start
        const said = this.#qemuErrors.split("\n").filter((line) => line && !line.includes(": warning: "));
        const told = said.length > 0 ? `${how}: ${said.join(" ")}` : `the guest went down (${how})`;
        if (!this.#closing) this.#fail(told);
        resolve();
      });
    });
  }

  connect(socket: Socket): void {
    this.#socket = socket;
    socket.on("error", () => {}); // QEMU's end is what tells
    socket.on("data", (chunk: Buffer) => {
      try {
        for (const message of this.#reader.push(chunk)) this.#receive(message);
      } catch (error) {
        this.abandon(messageOf(error));
      }
    });
  }

  #receive({ type, payload }: Frame): void {
    const current = this.#current;
    if (type === frame.guestHello) this.#hello(payload.toString());
    if (!current) return;
    if (type === frame.guestStdout) {
      current.stdout.push(payload);
      current.options.onStdout?.(payload);
    } else if (type === frame.guestStderr) {
      current.stderr.push(payload);
      current.options.onStderr?.(payload);
    } else if (type === frame.guestExit) {
      current.resolve(payload.readUInt32LE(0));
    }
  }

  #fail(message: string): void {
    this.#failure ??= new GuestError(message, this.consolePath);
    this.#current?.reject(this.#failure);
  }

  /** Marks the guest as lost and ends QEMU. */
  abandon(message: string): Error {
    this.#fail(message);
    this.qemu.kill("SIGKILL");
    return this.#failure as Error;
  }

  /** Stops the whole machine, as a lockup would; for the lab's own tests. */
  suspend(): void {
    this.qemu.kill("SIGSTOP");
  }

  get failed(): boolean {
    return this.#failure !== undefined;
  }

  get exited(): Promise<void> {
    return this.#exited;
  }

  /**
   * Runs a command: an argument list, or a line for the guest's sh. Calls queue up; one runs at a time.
   * @throws GuestError when the guest dies or no longer answers
   */
  run(command: string | readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const argv = typeof command === "string" ? ["sh", "-c", command] : command;
    const turn = this.#queue.then(() => this.#runNow(argv, options));
    this.#queue = turn.catch(() => {});
    return turn;
  }

  async #runNow(argv: readonly string[], options: RunOptions): Promise<RunResult> {
    if (this.#failure) throw this.#failure;
    if (argv.length === 0) throw new Error("a guest command needs at least one word");
    const cwd = options.cwd ?? (this.style === "root" ? process.cwd() : "/");
    const request = encodeRun(cwd, argv, { ...guestEnvironment, ...options.env });
    const started = performance.now();
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    const exit = new Promise<number>((resolve, reject) => {
      this.#current = { options, stdout, stderr, resolve, reject };
    });
    this.#socket?.write(encodeFrame(frame.hostRun, request));
    const stopStdin = this.#sendStdin(options.stdin);
    try {
      const { status, timedOut } = await this.#awaitExit(exit, argv, options.timeoutSeconds ?? 300);
      const bytes = Buffer.concat(stdout);
      return {
        ...decodeStatus(status),
        timedOut,
        stdout: bytes.toString(),
        stderr: Buffer.concat(stderr).toString(),
        stdoutBytes: bytes,
        seconds: (performance.now() - started) / 1000,
      };
    } finally {
      stopStdin();
      this.#current = undefined;
    }
  }

  /** Sends standard input; returns what ends the sending. */
  #sendStdin(stdin: string | Buffer | Readable | undefined): () => void {
    const send = (data: Buffer) => {
      for (let at = 0; at < data.length; at += stdinChunk) {
        this.#socket?.write(encodeFrame(frame.hostStdin, data.subarray(at, at + stdinChunk)));
      }
    };
    const end = () => this.#socket?.write(encodeFrame(frame.hostStdin));
    if (!(stdin instanceof Readable)) {
      send(Buffer.from(stdin ?? ""));
      end();
      return () => {};
    }
    stdin.on("data", send);
    stdin.once("end", end);
    return () => {
      stdin.off("data", send);
      stdin.off("end", end);
      stdin.pause();
    };
  }

  async #awaitExit(exit: Promise<number>, argv: readonly string[], seconds: number) {
    const limit = after(seconds);
    try {
      const first = await Promise.race([exit, limit.promise]);
      if (first !== "late") return { status: first, timedOut: false };
    } finally {
      limit.cancel();
    }
    const signal = Buffer.alloc(4);
    signal.writeUInt32LE(sigkill, 0);
    this.#socket?.write(encodeFrame(frame.hostKill, signal));
    const grace = after(killGraceSeconds);
    try {
      const second = await Promise.race([exit, grace.promise]);
      if (second !== "late") return { status: second, timedOut: true };
    } finally {
      grace.cancel();
    }
    exit.catch(() => {});
    throw this.abandon(
      `"${argv.join(" ")}" ran into its limit of ${seconds} s and the guest does not answer`,
    );
  }

  /** The guest's kernel log so far. */
  async kernelLog(): Promise<string> {
    return (await this.run(["dmesg"], { cwd: "/", timeoutSeconds: 60 })).stdout;
  }

  /**
   * Powers the guest off and waits for QEMU's end.
   * @returns whether it went down by itself, in time
   */
  async close(): Promise<boolean> {
    if (this.#closing) return !this.failed;
    await this.#queue;
    this.#closing = true;
    if (!this.failed) this.#socket?.write(encodeFrame(frame.hostQuit));
    const limit = after(this.failed ? 0 : powerOffSeconds);
    const end = await Promise.race([this.#exited, limit.promise]);
    limit.cancel();
    if (end === "late") {
      this.#fail("the guest does not power off");
      this.qemu.kill("SIGKILL");
      await this.#exited;
    }
    this.#socket?.destroy();
    await this.cleanUp(this.failed);
    return !this.failed;
  }

  /** Removes the console that `keep` kept. */
  async discardConsole(): Promise<void> {
    await rm(this.consolePath, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function sharesFor(style: GuestStyle, files: KernelFiles, share: string): Share[] {
  if (style === "initramfs") return [];
  return [
    { tag: "host", path: "/", readonly: true },
    { tag: "modules", path: files.modules, readonly: true },
    { tag: "share", path: share, readonly: false },
  ];
}

/**
 * Boots a guest.
 * @throws Unavailable when the host lacks what it takes, GuestError when the guest does not come up
 */
export async function openGuest(options: GuestOptions = {}): Promise<Guest> {
  const files = await kernelFiles(kernelById(options.kernel ?? defaultKernel));
  const style = options.style ?? "root";
  if (style === "root" && !files.kernel.has9p) {
    throw new Error(`kernel ${files.kernel.id} has no 9p: it boots initramfs guests only`);
  }
  // all that can be missing comes before there is anything to clean up
  qemuPath();
  const image = await buildInitramfs(files, style, options);
  const kernel = options.bzImage ? files.vmlinuz : await directKernel(files);
  await mkdir(cachePath("consoles"), { recursive: true });

  const work = await mkdtemp(join(tmpdir(), "kontain-lab-"));
  workDirectories.add(work);
  const consolePath = cachePath("consoles", `${files.kernel.id}-${process.pid}-${work.slice(-6)}.log`);
  const share = options.share ?? join(work, "share");
  await mkdir(share, { recursive: true });
  const initramfs = join(work, "initramfs.cpio");
  await writeFile(initramfs, image);
  const socketPath = join(work, "port");
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath, resolve);
  });
  const cleanUp = async (failed: boolean) => {
    server.close();
    await rm(work, { recursive: true, force: true });
    workDirectories.delete(work);
    if (!failed && !options.keep) await rm(consolePath, { force: true });
  };
  const qemu = startQemu({
    kernel,
    initramfs,
    cpus: options.cpus ?? 1,
    memoryMiB: options.memoryMiB ?? (style === "root" ? 3072 : 1024),
    cpuModel: options.cpuModel ?? nestedSvmCpu,
    icount: options.icount ?? false,
    kernelArgs: options.kernelArgs ?? [],
    shares: sharesFor(style, files, share),
    socket: socketPath,
    consolePath,
    extra: options.qemu ?? [],
  });
  const guest = new Guest(files, style, consolePath, qemu, cleanUp);
  server.on("connection", (socket) => guest.connect(socket));
  await waitForBoot(guest, options.bootSeconds ?? 240);
  return guest;
}

async function waitForBoot(guest: Guest, seconds: number): Promise<void> {
  const limit = after(seconds);
  const first = await Promise.race([guest.booted, guest.exited.then(() => undefined), limit.promise]);
  limit.cancel();
  if (first !== undefined && first !== "late") return;
  const failure = guest.abandon(`kernel ${guest.files.kernel.id} did not come up within ${seconds} s`);
  await guest.exited;
  await guest.close();
  const hint = existsSync(guest.consolePath)
    ? failure
    : new Error(`${failure.message} (QEMU wrote no console)`);
  throw hint;
}

export interface RunInGuestOptions extends GuestOptions, RunOptions {
  /** An argument list, or a line for the guest's sh. */
  readonly command: string | readonly string[];
}

/** Boots a guest, runs one command, powers off. For more than one command openGuest() is quicker. */
export async function runInGuest(options: RunInGuestOptions): Promise<RunResult & { consolePath: string }> {
  const guest = await openGuest(options);
  try {
    return { ...(await guest.run(options.command, options)), consolePath: guest.consolePath };
  } finally {
    await guest.close();
  }
}
