// SPDX-License-Identifier: Apache-2.0
// SIGKILL between any two durable changes, and at moments nobody chose: what apply.test.ts plays with exceptions, here with
// a process that is really gone (its lock, its half-made folders and temporary files stay behind).
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import test from "ava";
import { readJournal } from "../../src/installer/apply/journal.js";
import { contents, picture, plant, temporaryFolder } from "./fixtures.js";
import { installSmall, uninstallSmall } from "./small-install.js";

const path = (name: string) => new URL(name, import.meta.url).pathname;
const INSTALL = path("killed-install.ts");
const COMMANDS = path("killed-commands.ts");

/** Runs a program and kills it `delay` ms after it began. Returns whether it came to its end. */
async function run(args: string[], delay?: number, program = INSTALL): Promise<boolean> {
  const child = spawn(process.execPath, ["--import=tsx", program, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let printed = "";
  child.stdout.on("data", (data) => {
    printed += data;
    if (delay !== undefined && printed === "begin\n") setTimeout(() => child.kill("SIGKILL"), delay);
  });
  await once(child, "close");
  return printed.endsWith("end\n");
}

test("an installer killed at each step: run again, or taken back", async (t) => {
  const root = await temporaryFolder(t);
  const [source, prefix] = [join(root, "package"), join(root, "host/kontain")];
  await plant(root, { "package/bin-km": "km", "host/kontain/theirs": "somebody's", "host/else": "x" });
  const small = { source, prefix, targets: ["bin/km"] };
  const before = await picture(root);
  // Every second time straight back; otherwise on to the end, and the way back is killed at its steps in their turn.
  let backward = 0;
  for (let n = 1; ; n++) {
    const ended = await run([source, prefix, String(n)]);
    if (n % 2 === 0 || ended) {
      t.is(await installSmall(small), "installed");
      t.is((await readJournal(prefix))?.at(-1)?.type, "verified");
      await run([source, prefix, "back", String(++backward)]);
    }
    await uninstallSmall(small);
    t.deepEqual(await picture(root), before, `killed at ${n}, and on the way back at ${backward}`);
    if (ended) return t.true(n > 8, `${n} moments`);
  }
});

test("an installer killed at moments nobody chose: run again, and taken back", async (t) => {
  const root = await temporaryFolder(t);
  await plant(root, {
    "package/bin-km": "km".repeat(100_000),
    "package/tests-hello": "h",
    "package/examples-deep-er": "e",
  });
  const args = [join(root, "package"), join(root, "host/made/here")];
  await mkdir(join(root, "host"));
  const before = await picture(root);
  let killed = 0;
  // Evenly over the time an undisturbed run takes, a little more each time.
  for (let delay = 0; delay < 60; delay += 10) if (!(await run(args, delay))) killed++;
  t.true(killed > 0, "at least one run was killed");
  t.true(await run(args));
  for (let delay = 0; delay < 30; delay += 10) await run([...args, "back"], delay);
  t.true(await run([...args, "back"]));
  t.deepEqual(await picture(root), before);
});

/** Starts an installer that waits; gives what lets it go, and what it printed by its end. */
async function waiting(args: string[]) {
  const child = spawn(process.execPath, ["--import=tsx", INSTALL, ...args, "wait"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const printed = text(child.stdout);
  await once(child.stdout, "readable");
  return { go: () => child.stdin.end(), printed };
}

test("installers that begin at the same moment: one at a time, the others are told, and it can be taken back", async (t) => {
  const root = await temporaryFolder(t);
  await plant(root, { "package/bin-km": "km", "package/tests-hello": "h", "package/examples-deep-er": "e" });
  await mkdir(join(root, "host"));
  const prefix = join(root, "host/made/here");
  const args = [join(root, "package"), prefix];
  const before = await picture(root);
  for (let round = 0; round < 3; round++) {
    const racers = await Promise.all([1, 2, 3, 4].map(() => waiting(args)));
    for (const { go } of racers) go();
    const ends = await Promise.all(racers.map(({ printed }) => printed));
    const installed = ends.filter((end) => /begin\ninstalled\nend\n$/.test(end)).length;
    const told = ends.filter((end) => /begin\ninstaller-busy\nfailed\nend\n$/.test(end)).length;
    t.true(installed > 0, ends.join("--\n"));
    t.is(installed + told, ends.length, ends.join("--\n"));
    t.is((await readJournal(prefix))?.at(-1)?.type, "verified");
    t.true(await run([...args, "back"]));
    t.deepEqual(await picture(root), before);
  }
});

test("commands of an installer killed at any time are run again, or taken back", async (t) => {
  const root = await temporaryFolder(t);
  await plant(root, { "etc/list": "root\n", "lib/index": "ext4\n", "lib/ext4": "module" });
  const before = await contents(root);
  let killed = 0;
  for (let delay = 0; delay < 400; delay += 80) {
    if (!(await run([root], delay, COMMANDS))) killed++;
    // Straight back from wherever it was; every second time on to the end first.
    if (delay % 160 === 0) t.true(await run([root], undefined, COMMANDS));
    await run([root, "back"], 40, COMMANDS);
    t.true(await run([root, "back"], undefined, COMMANDS));
    t.deepEqual(await contents(root), before, `killed after ${delay} ms`);
  }
  t.true(killed > 0, "at least one run was killed");
});
