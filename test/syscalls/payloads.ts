// SPDX-License-Identifier: Apache-2.0
// Builds the payloads of this folder and runs them, natively or under km.
import { type ExecFileException, execFile } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL(".", import.meta.url));
export const ROOT = resolve(HERE, "../..");
export const KM = resolve(process.env.KONTAIN_KM ?? join(ROOT, "build/bin/km"));
const SOURCES = join(HERE, "payloads");
const OUTPUT = join(ROOT, "build/test/syscalls");
/** Payloads whose output must not depend on where they run; together they make every answered call of the table. */
export const COMPARED = [
  ...["files", "desc", "memory", "process", "signals", "times", "net", "ipc", "admin"],
  ...["ioctls", "interfaces"],
];
/** Bound on one run; the lab's guest emulates its processor. */
const MILLISECONDS = 120_000;

export interface Outcome {
  /** Exit status, or the signal's name. */
  status: number | string;
  stdout: string;
  stderr: string;
}

export function run(file: string, args: string[], cwd: string, env?: NodeJS.ProcessEnv): Promise<Outcome> {
  const options = { cwd, env: env ?? process.env, timeout: MILLISECONDS, killSignal: "SIGKILL" as const };
  return new Promise((done) => {
    const child = execFile(file, args, options, (error: ExecFileException | null, stdout, stderr) => {
      const status = error ? (error.signal ?? error.code ?? "unknown") : 0;
      done({ status, stdout, stderr });
    });
    child.stdin?.end();
  });
}

function newestSource(name: string): number {
  const headers = readdirSync(SOURCES).filter((file) => file.endsWith(".h"));
  return Math.max(...[`${name}.c`, ...headers].map((file) => statSync(join(SOURCES, file)).mtimeMs));
}

/** Path of the payload's program, built when it is older than its source. */
export async function payload(name: string): Promise<string> {
  const program = join(OUTPUT, name);
  if (existsSync(program) && statSync(program).mtimeMs > newestSource(name)) return program;
  mkdirSync(OUTPUT, { recursive: true });
  const temporary = `${program}.${process.pid}`;
  const flags = [
    "-static",
    "-O1",
    "-D_GNU_SOURCE",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-result",
    "-pthread",
  ];
  const built = await run("gcc", [...flags, "-o", temporary, join(SOURCES, `${name}.c`)], SOURCES);
  if (built.status !== 0) throw new Error(`gcc ${name}.c: ${built.stderr}`);
  renameSync(temporary, program);
  return program;
}

/** Calls `use` with an empty directory that is gone afterwards. */
export async function inScratch<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "km-syscalls-"));
  try {
    return await use(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Runs a payload natively. */
export async function native(name: string, args: string[] = []): Promise<Outcome> {
  const program = await payload(name);
  return inScratch((directory) => run(program, args, directory));
}

export interface UnderKm extends Outcome {
  /** What km wrote to its log. */
  log: string;
}

/** Runs a payload under km, its log in a file. */
export async function underKm(name: string, args: string[] = [], options: string[] = []): Promise<UnderKm> {
  const program = await payload(name);
  return inScratch(async (directory) => {
    const log = join(directory, "km.log");
    const work = mkdtempSync(join(directory, "work-"));
    const outcome = await run(KM, ["-k", log, ...options, program, ...args], work);
    return { ...outcome, log: existsSync(log) ? readFileSync(log, "utf8") : "" };
  });
}

/** Names of the system calls that --trace lines show. */
export function tracedNames(log: string): Set<string> {
  return new Set([...log.matchAll(/ trace +0 \S+ (\w+)\(/g)].map((match) => match[1] as string));
}
