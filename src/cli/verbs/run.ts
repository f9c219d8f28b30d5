// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "commander";
import { MonitorError } from "../../monitor/errors.js";
import type { Ending } from "../../monitor/events.js";
import { type LaunchOptions, launch } from "../../monitor/launch.js";
import type { Verb } from "../verb.js";

interface Options {
  memory?: number;
  cpu?: number;
  timeout?: number;
  read?: string[];
  write?: string[];
  network: boolean;
  device?: string;
  cwd?: string;
}

const UNITS: Record<string, number> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

function size(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([kmg]?)(?:i?b)?$/i.exec(text);
  if (!match) throw new InvalidArgumentError("a size like 256M is needed.");
  return Number(match[1]) * (UNITS[(match[2] ?? "").toLowerCase()] ?? 1);
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError("a number of seconds is needed.");
  return value * 1000;
}

const collect = (path: string, paths: string[] = []) => [...paths, path];

const LIMIT_TEXTS: Partial<Record<Ending["reason"], string>> = {
  memory: "stopped: more memory than --memory",
  cpu: "stopped: more CPU time than --cpu",
  timeout: "stopped: more time than --timeout",
};

function optionsOf(options: Options): LaunchOptions {
  const files = options.read || options.write;
  return {
    stdio: "inherit",
    network: options.network,
    ...(options.memory ? { memoryLimit: options.memory } : {}),
    ...(options.cpu ? { cpuLimit: options.cpu } : {}),
    ...(options.timeout ? { timeout: options.timeout } : {}),
    ...(options.device ? { device: options.device } : {}),
    ...(options.cwd ? { cwd: options.cwd } : {}),
    ...(files ? { files: { read: options.read ?? [], write: options.write ?? [] } } : {}),
  };
}

export const runVerb: Verb = (program) => {
  program
    .command("run")
    .argument("<program>", "path, or a name in PATH")
    .argument("[args...]")
    .passThroughOptions()
    .description(
      "runs a program in a machine of its own; the exit status is the program's, 128+n for signal n",
    )
    .option("-m, --memory <size>", "limit, like 256M", size)
    .option("--cpu <seconds>", "limit of CPU time", seconds)
    .option("-t, --timeout <seconds>", "limit of time", seconds)
    .option("--read <path>", "only paths given here or with --write exist for it (repeatable)", collect)
    .option("--write <path>", "the same, writable", collect)
    .option("--no-network", "without network")
    .option("--device <path>", "device node")
    .option("--cwd <dir>", "working directory")
    .action(async (name: string, args: string[], options: Options) => {
      try {
        const machine = await launch(name, args, optionsOf(options));
        for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const)
          process.on(signal, () => {
            // The terminal has sent these to the whole foreground group.
            const fromTerminal = process.stdin.isTTY && (signal === "SIGINT" || signal === "SIGQUIT");
            if (!fromTerminal) machine.kill(signal);
          });
        const ending = await machine.wait();
        const limit = LIMIT_TEXTS[ending.reason];
        if (limit) process.stderr.write(`kontain: ${limit}\n`);
        process.exitCode = ending.status;
      } catch (error) {
        if (!(error instanceof MonitorError)) throw error;
        process.stderr.write(`kontain: ${error.message}\n`);
        process.exitCode = 125;
      }
    });
};
