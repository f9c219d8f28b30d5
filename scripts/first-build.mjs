// SPDX-License-Identifier: Apache-2.0
// What `npx kontain-install` does first in a clone: builds what is missing or older than its sources, tells how far it
// is, and says in one line what stopped it. npm shows nothing of what a package's scripts print under npx.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { BUILD_REASONS } from "../bin/build-reasons.mjs";
import { aptLine, missing, which } from "./packages.mjs";
import { isBuilt, PARTS, ROOT } from "./stamps.mjs";

const LOG = join(ROOT, "build/first-build.log");
/** What flock(1) is told to exit with when somebody else has the lock. */
const BUSY = 75;
const FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";

/** Verbs and options for which nothing has to run in a machine. */
const NO_MONITOR = /^(-h|--help|--uninstall|-V|--version|help|uninstall|version)$/;
/** Verbs with kontain-install's options. The --json of others is one document, and --yes may be a word for a payload. */
const INSTALLERS = /^(install|uninstall|upgrade)$/;

/** The line of a failed build that says most: the first of a compiler, of the linker, of make, of gyp, or the last. */
const TELLING = [
  /\berror: /,
  /undefined reference|\bld: |No space left/,
  /^make: \*\*\*/,
  /^gyp ERR! stack [A-Z]/,
];

class Stopped extends Error {
  constructor(id, evidence, fix = BUILD_REASONS[id].fix) {
    super(evidence);
    this.problem = { id, evidence, fix };
  }
}

const seconds = (milliseconds) => `${Math.round(milliseconds / 1000)} s`;

function progressWords({ doing, done, total, milliseconds }) {
  const count = done > 0 ? `, ${done}${total > done ? ` of ${total}` : ""} files` : "";
  return `${doing}${count}, ${seconds(milliseconds)}`;
}

/** An event in lines for people. */
function words(event) {
  if (event.type === "result") return [event.message, ...event.next.map((line) => `  ${line}`)];
  if (event.type !== "build") return [];
  if (event.state === "start")
    return [`build: ${event.what.join(", ")}: not built yet, or not from these sources`];
  if (event.state === "waiting")
    return ["build: another build is at work in this clone: waiting for its end"];
  if (event.state === "done") return [`build: done (${seconds(event.milliseconds)})`];
  return [`build: ${progressWords(event)}`];
}

/** Whoever shows the events; `every`: milliseconds between two pieces of progress. */
function jsonReporter() {
  return { every: 5000, show: (event) => process.stdout.write(`${JSON.stringify(event)}\n`) };
}

function plainReporter() {
  return {
    every: 10_000,
    show: (event) => {
      for (const line of words(event)) process.stderr.write(`${line}\n`);
    },
  };
}

/** One line that is drawn over and over. It is gone when the program that takes the terminal begins. */
function terminalReporter() {
  let frame = 0;
  const show = (event) => {
    process.stderr.write("\r\u001b[2K");
    if (event.type === "build" && event.state === "progress") {
      const line = `${FRAMES[frame++ % FRAMES.length]} ${words(event)[0]}`;
      process.stderr.write(line.slice(0, (process.stderr.columns || 80) - 1));
      return;
    }
    for (const line of words(event)) process.stderr.write(`${line}\n`);
  };
  return { every: 100, show };
}

function reporterFor(options) {
  if (options.includes("--json")) return jsonReporter();
  const { TERM, CI } = process.env;
  return process.stderr.isTTY && TERM !== "dumb" && !CI ? terminalReporter() : plainReporter();
}

/** Whether the person agreed to changes of the machine beforehand, and to fetching. @param options of an installer */
function mayInstall(options) {
  const agreed = options.some((arg) => /^(--yes|-[a-z]*y[a-z]*)$/.test(arg));
  return agreed && !options.some((arg) => /^(--dry-run|--offline|-[a-z]*n[a-z]*)$/.test(arg));
}

function checkNeeds(options) {
  if (
    !existsSync(join(ROOT, "node_modules/typescript")) ||
    !existsSync(join(ROOT, "node_modules/node-gyp"))
  ) {
    throw new Stopped("clone-packages", `${ROOT}: npm's packages are not there`);
  }
  const needs = missing("build");
  if (needs.length === 0) return;
  if (process.getuid() === 0 && which("apt-get") && process.env.KONTAIN_NO_APT !== "1" && mayInstall(options))
    return;
  const names = needs.map(({ command, why }) => `${command} (${why})`).join(", ");
  const sudo = process.getuid() === 0 ? "" : "sudo ";
  throw new Stopped(
    "clone-tools",
    `missing: ${names}`,
    `install it; Debian, Ubuntu: ${sudo}${aptLine(needs)}`,
  );
}

function openLog() {
  try {
    mkdirSync(dirname(LOG), { recursive: true });
    return openSync(LOG, "w");
  } catch (error) {
    throw new Stopped("clone-failed", error.message, "build it as the user whose clone it is: npm run build");
  }
}

/** The command that builds `parts`, one build at a time where the system has flock(1). */
function buildCommand(parts, wait) {
  const only = parts.length === 1 ? [parts[0] === "native" ? "--native" : "--ts"] : [];
  const command = [process.execPath, join(ROOT, "scripts/build.mjs"), ...only];
  const flock = which("flock");
  if (!flock) return command;
  return [
    flock,
    ...(wait ? [] : ["-n", "-E", String(BUSY)]),
    join(ROOT, "build/first-build.lock"),
    ...command,
  ];
}

/**
 * Runs a command in a process group of its own, so that all of it can be ended.
 * @returns {Promise<number>} its exit status, when every line of it was taken
 */
async function runLines([command, ...args], env, onLine) {
  const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"], detached: true });
  const end = (signal) => {
    process.kill(-child.pid, "SIGTERM");
    process.stderr.write("\nbuild: interrupted; the same command goes on\n");
    process.exit(signal === "SIGINT" ? 130 : 143);
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const name of signals) process.on(name, end);
  const read = [child.stdout, child.stderr].map((input) =>
    once(createInterface({ input }).on("line", onLine), "close"),
  );
  try {
    const [code] = await once(child, "close");
    await Promise.all(read);
    return code ?? 1;
  } finally {
    for (const name of signals) process.off(name, end);
  }
}

/** What the build's own lines say of how far it is. */
class Progress {
  doing = "beginning";
  done = 0;
  total = 0;
  lines = [];

  take(line) {
    this.lines.push(line);
    const stage = /^build: ([a-z]+)(?: \((\d+) files\))?$/i.exec(line);
    if (stage) {
      this.doing = stage[1];
      this.done = 0;
      this.total = Number(stage[2] ?? 0);
    }
    if (/^ +[A-Z]+\(target\) .*\.o$/.test(line)) this.done++;
  }

  telling() {
    for (const pattern of TELLING) {
      const line = this.lines.find((text) => pattern.test(text));
      if (line) return line.trim();
    }
    return this.lines.findLast((line) => line.trim() !== "")?.trim() ?? "it said nothing";
  }
}

async function build(parts, options, { every, show }) {
  checkNeeds(options);
  const log = openLog();
  const progress = new Progress();
  const began = performance.now();
  const milliseconds = () => Math.round(performance.now() - began);
  const env = { ...process.env, LC_ALL: "C", ...(mayInstall(options) ? {} : { KONTAIN_NO_APT: "1" }) };
  const onLine = (line) => {
    writeSync(log, `${line}\n`);
    progress.take(line);
  };
  show({ type: "build", state: "start", what: parts.map((part) => PARTS[part].title), log: LOG });
  const timer = setInterval(() => {
    const { doing, done, total } = progress;
    show({ type: "build", state: "progress", doing, done, total, milliseconds: milliseconds() });
  }, every);
  try {
    let status = await runLines(buildCommand(parts, false), env, onLine);
    if (status === BUSY) {
      show({ type: "build", state: "waiting" });
      progress.doing = "waiting";
      status = await runLines(buildCommand(parts, true), env, onLine);
    }
    if (status !== 0) throw new Stopped("clone-failed", `${progress.telling()} (log: ${LOG})`);
  } catch (error) {
    if (error instanceof Stopped || !error.code) throw error;
    throw new Stopped("clone-failed", `${error.message} (log: ${LOG})`);
  } finally {
    clearInterval(timer);
    closeSync(log);
  }
  show({ type: "build", state: "done", milliseconds: milliseconds() });
}

/**
 * Builds what `program` needs of this clone and what is not there, or not from these sources.
 * @param {"kontain" | "kontain-install"} program
 * @param {string[]} args what it was called with
 * @returns {Promise<boolean>} false: it could not, and that has been said
 */
export async function firstBuild(program, args) {
  // Who switches the scripts of packages off wants no build either.
  if (process.env.npm_config_ignore_scripts === "true") return true;
  const asked = program === "kontain" ? args.slice(0, 1) : args;
  const needed = asked.some((arg) => NO_MONITOR.test(arg)) ? ["typescript"] : Object.keys(PARTS);
  const parts = needed.filter((part) => !isBuilt(part));
  if (parts.length === 0) return true;
  const options = program === "kontain-install" || INSTALLERS.test(args[0] ?? "") ? args : [];
  const reporter = reporterFor(options);
  try {
    await build(parts, options, reporter);
    return true;
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    const { problem } = error;
    reporter.show({ type: "problem", problem });
    reporter.show({
      type: "result",
      outcome: "failed",
      message: `${program}: not built: ${problem.evidence}`,
      next: [`way out: ${problem.fix}`, `reason: ${problem.id}; nothing was changed`],
    });
    return false;
  }
}
