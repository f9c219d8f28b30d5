// SPDX-License-Identifier: Apache-2.0
// Limits by cgroup v2, on a host that lets this process make one: says what it saw, one JSON object a line. Plain
// JavaScript over dist/, because loading TypeScript takes a minute on an emulated processor. Argument: folder with programs.
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Cgroup } from "../../dist/monitor/cgroup.js";
import { launch } from "../../dist/monitor/index.js";

const folder = process.argv[2];
const TIMEOUT = 240_000;
const say = (what, facts) => console.log(JSON.stringify({ what, ...facts }));

const probe = await Cgroup.create(1 << 30);
say("place", { directory: probe?.directory ?? null });
if (!probe) process.exit(0);
const { directory } = probe;
await probe.remove();
say("removed", { gone: !existsSync(directory) });
const groups = async () =>
  (await readdir(join(directory, ".."))).filter((name) => name.startsWith(`kontain-${process.pid}-`));

async function run(program, args, options) {
  const machine = await launch(join(folder, program), args, { timeout: TIMEOUT, ...options });
  const limits = await Promise.all(
    (await groups()).map((name) =>
      readFile(join(directory, "..", name, "memory.max"), "utf8").catch(() => "none"),
    ),
  );
  let output = "";
  machine.stdout.on("data", (chunk) => (output += chunk));
  machine.stderr.resume();
  const ending = await machine.wait();
  const events = [];
  for await (const event of machine) events.push(event.type);
  return { ...ending, events, output, limits: limits.map((text) => text.trim()), left: await groups() };
}

const MEMORY = 64 << 20;
say("hog", await run("hog", [], { memoryLimit: MEMORY }));
say("forked hog", await run("hog", ["fork"], { memoryLimit: MEMORY }));
say("crash", await run("crash", [], { memoryLimit: MEMORY }));
say("small", await run("small", [], { memoryLimit: MEMORY, cpuLimit: 200_000 }));
say("spin", await run("spin", [], { cpuLimit: 500 }));
// A daemon leaves the process group: only the cgroup still holds it.
const escaped = await run("daemon", [], { timeout: 5000, memoryLimit: MEMORY });
say("daemon", { ...escaped, alive: existsSync(`/proc/${Number(escaped.output)}`) });
