// SPDX-License-Identifier: Apache-2.0
// One cell of the table: one suite on one kernel.

import { createWriteStream } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { buildModule, ModuleBuildError } from "./build-module.js";
import { buildRoot } from "./build-root.js";
import { cachePath } from "./cache.js";
import { GuestError, messageOf, Unavailable } from "./errors.js";
import { type Guest, type GuestOptions, openGuest, type RunResult } from "./guest.js";
import type { GuestFile } from "./initramfs.js";
import { kernelFiles } from "./kernel-files.js";
import { kernelComplaints } from "./kernel-log.js";
import type { Kernel } from "./kernels.js";
import { projectRoot } from "./paths.js";
import { staticProgram } from "./programs.js";
import type { Suite } from "./suites.js";

export type Outcome = "pass" | "fail" | "skip";

export interface SuiteResult {
  readonly kernel: string;
  readonly suite: string;
  readonly outcome: Outcome;
  /** From QEMU's start to its end; fetching and compiling are not in it. */
  readonly seconds: number;
  /** Why it failed or was skipped. */
  readonly reason?: string;
  /** What a reader must know even of a pass. */
  readonly note?: string;
  /** What the script of a suite of figures printed. */
  readonly figures?: string;
  /** What the script printed and the kernel logged. */
  readonly logPath?: string;
  readonly consolePath?: string;
}

export interface HowToRun {
  /** Keep the console of a passing suite too. */
  readonly keep: boolean;
  /** Added to the script's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Instead of the suite's own bound. */
  readonly timeoutSeconds?: number | undefined;
}

type Verdict = Pick<SuiteResult, "outcome" | "reason" | "figures">;

const skipStatus = 77; // automake's, known to test scripts everywhere

// Without asking 7.x's scripts/checker-valid.sh whether sparse is fit, which Debian's packages leave out.
const withSparse = ["KBUILD_CHECKSRC=2"];

/** Builds what the suite wants in $LAB_SUITE. */
async function suiteFiles(suite: Suite, kernel: Kernel): Promise<GuestFile[]> {
  await suite.prepare?.();
  const files: GuestFile[] = [{ path: "script.sh", source: join(projectRoot, suite.script) }];
  for (const program of suite.programs ?? []) {
    files.push({ path: program.name, source: await staticProgram(program), executable: true });
  }
  for (const path of suite.files ?? []) {
    files.push({ path: basename(path), source: join(projectRoot, path), executable: true });
  }
  for (const directory of suite.builtModules ?? []) {
    const build = await buildModule(kernel.id, join(projectRoot, directory), withSparse);
    const warning = build.warnings[0];
    if (warning) throw new ModuleBuildError(`${directory}: ${warning}`, build.log, build.logPath);
    files.push(...build.modules.map((source) => ({ path: basename(source), source })));
  }
  return files;
}

function judge(limit: number, result: RunResult, complaint: string | undefined): Verdict {
  if (complaint) return { outcome: "fail", reason: `kernel log: ${complaint.trim()}` };
  if (result.timedOut) return { outcome: "fail", reason: `ran into its limit of ${limit} s` };
  if (result.exitCode === 0) return { outcome: "pass" };
  const last = `${result.stdout.trimEnd()}\n${result.stderr.trimEnd()}`.trim().split("\n").at(-1) ?? "";
  if (result.exitCode === skipStatus) return { outcome: "skip", reason: last || "the script says skip" };
  return {
    outcome: "fail",
    reason: last ? `status ${result.exitCode}: ${last}` : `status ${result.exitCode}`,
  };
}

/** What the script finds in its environment. */
async function suiteEnvironment(
  suite: Suite,
  kernel: Kernel,
  how: HowToRun,
): Promise<Record<string, string>> {
  const env = { ...suite.env, ...how.env };
  if (!suite.userland) return env;
  const { compiler } = await kernelFiles(kernel);
  return { LAB_USERLAND: await buildRoot(kernel.release, compiler, suite.userland), ...env };
}

interface Script {
  suite: Suite;
  env: Record<string, string>;
  timeoutSeconds: number;
  logPath: string;
}

async function execute(guest: Guest, { suite, env, timeoutSeconds, logPath }: Script): Promise<Verdict> {
  const cwd = suite.style === "root" ? projectRoot : "/run/kontain-lab/suite";
  const script = "/run/kontain-lab/suite/script.sh";
  // written as it comes: whoever waits for a long suite can look
  const live = createWriteStream(logPath);
  const result = await guest.run(["sh", script], {
    cwd,
    timeoutSeconds,
    env,
    onStdout: (chunk) => live.write(chunk),
  });
  await new Promise<void>((done) => live.end(done));
  const log = await guest.kernelLog();
  const sections = { stdout: result.stdout, stderr: result.stderr, "kernel log": log };
  const text = Object.entries(sections).map(([title, body]) => `--- ${title}\n${body}`);
  await writeFile(logPath, text.join("\n"));
  const verdict = judge(timeoutSeconds, result, kernelComplaints(log, suite.outOfMemory)[0]);
  return suite.figures ? { ...verdict, figures: result.stdout.trimEnd() } : verdict;
}

/**
 * Boots, and once more when the emulator lost a race while the kernel patched its own code: an int3 that nobody owns,
 * before anything of this project has run. Every other end of a boot is a failure.
 */
async function boot(options: GuestOptions): Promise<{ guest: Guest; note?: string }> {
  try {
    return { guest: await openGuest(options) };
  } catch (error) {
    if (!(error instanceof GuestError)) throw error;
    const console = await readFile(error.consolePath, "utf8");
    if (!console.includes("Oops: int3")) throw error;
    return { guest: await openGuest(options), note: `booted twice: "Oops: int3" in ${error.consolePath}` };
  }
}

/** Runs a suite on a kernel. Never throws: whatever happens is the result. */
export async function runSuite(suite: Suite, kernel: Kernel, how: HowToRun): Promise<SuiteResult> {
  const cell = { kernel: kernel.id, suite: suite.name };
  const logPath = cachePath("logs", `${kernel.id}-${suite.name}.log`);
  let started: number | undefined;
  const seconds = () => (started === undefined ? 0 : (performance.now() - started) / 1000);
  try {
    await mkdir(cachePath("logs"), { recursive: true });
    await kernelFiles(kernel);
    const files = await suiteFiles(suite, kernel);
    const env = await suiteEnvironment(suite, kernel, how);
    const timeoutSeconds = how.timeoutSeconds ?? suite.timeoutSeconds;
    started = performance.now();
    const { guest, ...told } = await boot({ ...suite, kernel: kernel.id, files, keep: true });
    let verdict: Verdict;
    try {
      verdict = await execute(guest, { suite, env, timeoutSeconds, logPath });
    } finally {
      await guest.close();
    }
    if (verdict.outcome === "pass" && guest.failed)
      verdict = { outcome: "fail", reason: "does not power off" };
    if (verdict.outcome !== "fail" && !how.keep) await guest.discardConsole();
    const kept = verdict.outcome === "fail" || how.keep ? { consolePath: guest.consolePath } : {};
    return { ...cell, ...verdict, ...told, seconds: seconds(), logPath, ...kept };
  } catch (error) {
    if (error instanceof Unavailable) return { ...cell, outcome: "skip", seconds: 0, reason: error.message };
    const failed = { ...cell, outcome: "fail", seconds: seconds(), reason: messageOf(error) } as const;
    if (error instanceof GuestError) return { ...failed, consolePath: error.consolePath };
    return error instanceof ModuleBuildError ? { ...failed, logPath: error.logPath } : failed;
  }
}
