// SPDX-License-Identifier: Apache-2.0
// Runs the hello payload under a monitor: the proof that a device, or an installation, works.
import { execa } from "execa";

export interface HelloRun {
  works: boolean;
  /** The command, as a person would type it. */
  command: string;
  /** What the payload printed. */
  stdout: string;
  /** What went wrong, in one line; empty when nothing did. */
  problem: string;
}

const WORDS = ["Hello", "World"];
/** What examples/c/hello.c prints for WORDS. */
const EXPECTED = ["Hello, world", ...WORDS.map((word, index) => `argument ${index + 1}: ${word}`)].join("\n");
/** A machine starts in milliseconds; this bounds one that hangs. */
const SECONDS = 30;

interface Ending {
  timedOut: boolean;
  exitCode?: number | undefined;
  signal?: string | undefined;
  stdout: string;
  stderr: string;
  shortMessage?: string | undefined;
}

function describe(result: Ending): string {
  const said = result.stderr.trim().split("\n").filter(Boolean).at(-1);
  if (result.timedOut) return `no answer within ${SECONDS} seconds`;
  if (result.signal) return `killed by ${result.signal}${said ? `: ${said}` : ""}`;
  if (result.exitCode === undefined) return said ?? result.shortMessage ?? "could not be started";
  if (result.exitCode !== 0) return said ?? `exit status ${result.exitCode}`;
  return `printed something else: ${JSON.stringify(result.stdout.slice(0, 200))}`;
}

/** Runs `hello` under `monitor` on `device` and compares what it prints. */
export async function runHello(monitor: string, hello: string, device: string): Promise<HelloRun> {
  const args = [`--virt-device=${device}`, "--km-log-to=stderr", hello, ...WORDS];
  const result = await execa(monitor, args, {
    reject: false,
    stdin: "ignore",
    timeout: SECONDS * 1000,
    forceKillAfterDelay: 1000,
  });
  const works = result.exitCode === 0 && result.stdout.trim() === EXPECTED;
  const command = [monitor, `--virt-device=${device}`, hello, ...WORDS].join(" ");
  return { works, command, stdout: result.stdout, problem: works ? "" : describe(result) };
}
