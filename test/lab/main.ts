// SPDX-License-Identifier: Apache-2.0
// The `npm run lab` command line. docs/lab.md describes it.

import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { execa } from "execa";
import { buildModuleCommand } from "./build-module-command.js";
import { messageOf } from "./errors.js";
import { fetchCommand } from "./fetch-command.js";
import { defaultKernel, kernels } from "./kernels.js";
import { listCommand, matrixCommand } from "./matrix-command.js";
import { packagingCommand } from "./packaging-command.js";
import { projectRoot } from "./paths.js";
import { runCommand } from "./run-command.js";
import { selftestCommand } from "./selftest-command.js";
import { suites } from "./suites.js";

/** The lab itself went wrong: told apart from what a command in the guest answered, as docker does. */
const labFailed = 125;

function count(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new InvalidArgumentError("a whole number above 0 is needed");
}

function collect(text: string, before: readonly string[]): string[] {
  return [...before, text];
}

function list(text: string): string[] {
  return text.split(",").filter(Boolean);
}

const kernelNames = kernels.map(({ id }) => id).join(", ");

const lab = new Command("lab").description("boot Debian kernels in QEMU and run suites in them");
lab.enablePositionalOptions(); // so that `run`'s options end where its command begins

lab
  .option("--kernel <ids>", `only these, comma-separated: ${kernelNames}`, list)
  .option(
    "--suite <names>",
    `only these, comma-separated: ${suites.map(({ name }) => name).join(", ")}`,
    list,
  )
  .option("--all", "the whole table: many hours; without it, long suites run on some kernels only", false)
  .option("--jobs <n>", "at most so many guests at once; default: as processors and memory allow", count)
  .option("-e, --env <NAME=VALUE>", "add to the environment of the suites' scripts", collect, [])
  .option("--timeout <seconds>", "bound on each suite's script; default: the suite's own", count)
  .option("--json", "results as JSON on standard output", false)
  .option("--keep", "keep the consoles of passing suites too", false)
  .option("--list", "show kernels and suites and stop", false)
  .action(async (options) => {
    if (options.list) return listCommand();
    process.exitCode = await matrixCommand(options);
  });

lab
  .command("run")
  .description("run one command in a guest that has the host's root and a /dev/kvm")
  .argument("<command...>", "the command and its arguments, behind --")
  .option("--kernel <id>", `one of ${kernelNames}`, defaultKernel)
  .option("--cpus <n>", "virtual CPUs", count, 1)
  .option("--memory <MiB>", "guest memory", count, 3072)
  .option("--timeout <seconds>", "kill the command after this", count, 600)
  .option("--cwd <directory>", "working directory; default: the present one")
  .option("-e, --env <NAME=VALUE>", "add to the guest's environment", collect, [])
  .option("--share <directory>", "host directory the guest may write, at /run/kontain-lab/share")
  .option("-i, --interactive", "pass standard input on", false)
  .option("--log", "print the guest's kernel log at the end", false)
  .option("--keep", "keep the console", false)
  .passThroughOptions()
  .action(async (command: string[], options) => {
    process.exitCode = await runCommand(command, options);
  });

lab
  .command("build-module")
  .description(
    "compile an out-of-tree module directory against kernels' headers, W=1, and print the .ko paths",
  )
  .argument("<directory>", "has a Kbuild or Makefile; it is copied first and not written to")
  .option("--kernel <ids>", `some of ${kernelNames}, comma-separated, or all`, list, [defaultKernel])
  .option("--make <ARG>", "further argument of make, such as C=1 for sparse", collect, [])
  .option("--werror", "warnings count as failure", false)
  .action(async (directory: string, options) => {
    process.exitCode = await buildModuleCommand(directory, options);
  });

lab
  .command("fetch")
  .description("fetch kernels and their toolchains into the cache")
  .option("--kernel <ids>", `only these, comma-separated: ${kernelNames}`, list)
  .option("--refresh", "fetch the newest even where the cache has one", false)
  .action(async (options) => {
    process.exitCode = await fetchCommand(options);
  });

lab
  .command("packaging")
  .description(
    "kkm/build.sh must tell failures apart, DKMS must take the module: tried in a kernel's build root",
  )
  .option("--kernel <id>", `one of ${kernelNames}`, defaultKernel)
  .action(async (options) => {
    process.exitCode = await packagingCommand(options.kernel);
  });

lab
  .command("selftest")
  .description("check that the lab tells failures from passes")
  .action(async () => {
    process.exitCode = await selftestCommand();
  });

/** Installs what the lab needs of the host, or says how; the host's package table is scripts/packages.mjs. */
async function setUpHost(): Promise<void> {
  const script = join(projectRoot, "scripts/setup.mjs");
  const setup = await execa(process.execPath, [script, "lab"], {
    reject: false,
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (setup.exitCode !== 0) throw new Error("the lab lacks packages on this host: see above");
}

// leaving through exit() lets go of scratch directories; QEMU goes down with this process
for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 })) {
  process.once(signal, () => process.exit(128 + number));
}

lab.hook("preAction", async () => {
  if (!lab.opts().list) await setUpHost();
});
lab.parseAsync().catch((error: unknown) => {
  process.stderr.write(`lab: ${messageOf(error)}\n`);
  process.exitCode = labFailed;
});
