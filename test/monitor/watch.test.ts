// SPDX-License-Identifier: Apache-2.0
// `kontain ps --watch` as a person meets it: on a pseudo-terminal (script(1)), and in a pipe.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import test from "ava";
import { launch } from "../../src/monitor/index.js";

const MAIN = fileURLToPath(new URL("../../dist/cli/kontain.js", import.meta.url));
const COMMAND = [process.execPath, MAIN, "ps", "--watch", "--interval", "0.2"];
const ESCAPE = "\x1b";
const PAYLOAD = ["/bin/sleep", ["120"]] as const;

/** Everything a program printed so far, and waiting for more of it. */
class Printed {
  text = "";
  constructor(readonly child: ChildProcess) {
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (chunk: Buffer) => {
        this.text += chunk;
      });
  }
  async until(wanted: RegExp, from = 0): Promise<void> {
    while (!wanted.test(this.text.slice(from))) {
      if (this.child.exitCode !== null) throw new Error(`it ended: ${this.text}`);
      await sleep(20);
    }
  }
}

function onTerminal(env: Record<string, string>): Printed {
  const line = COMMAND.map((word) => `'${word}'`).join(" ");
  const { CI: _, ...rest } = process.env;
  const child = spawn("script", ["-qefc", `stty rows 24 cols 140; exec ${line}`, "/dev/null"], {
    env: { ...rest, TERM: "xterm-256color", LANG: "C.UTF-8", LC_ALL: "C.UTF-8", ...env },
  });
  return new Printed(child);
}

test.serial(
  "on a terminal: a machine appears in the table, its details open, it is killed and vanishes",
  async (t) => {
    const screen = onTerminal({ NO_COLOR: "1" });
    await screen.until(/COMMAND/);
    await using machine = await launch(...PAYLOAD, { stdio: "ignore" });
    await screen.until(new RegExp(`${machine.pid} .*/dev/k.*sleep 120`));
    // It may not be the only machine of this host: its row is looked for.
    const pointed = new RegExp(`❯ +${machine.pid} `);
    for (let steps = 0; !pointed.test(screen.text.slice(screen.text.lastIndexOf("COMMAND"))); steps++) {
      t.true(steps < 200, "its row can be reached");
      screen.child.stdin?.write("\x1b[B");
      await sleep(300);
    }
    screen.child.stdin?.write("\r");
    await screen.until(/socket +\/run\/kontain\//);
    screen.child.stdin?.write("k");
    await screen.until(new RegExp(`kill ${machine.pid} `));
    screen.child.stdin?.write("y");
    await screen.until(new RegExp(`SIGTERM sent to ${machine.pid}`));
    t.like(await machine.wait(), { signal: "SIGTERM" });
    const vanished = () => !screen.text.slice(screen.text.lastIndexOf("COMMAND")).includes(`${machine.pid} `);
    while (!vanished()) await sleep(50);
    const ended = once(screen.child, "close");
    screen.child.stdin?.write("q");
    t.deepEqual(await ended, [0, null]);
    t.true(
      screen.text.includes(`${ESCAPE}[?1049h`) && screen.text.includes(`${ESCAPE}[?1049l`),
      "the screen is given back",
    );
    t.false(screen.text.includes(`${ESCAPE}[3`), "NO_COLOR");
  },
);

test.serial("Ctrl-C gives the terminal back", async (t) => {
  const screen = onTerminal({});
  await screen.until(/COMMAND/);
  const ended = once(screen.child, "close");
  screen.child.stdin?.write("\x03");
  await ended;
  t.true(screen.text.includes(`${ESCAPE}[?1049l`));
  t.true(screen.text.includes(`${ESCAPE}[?25h`), "the cursor is shown again");
});

test.serial("without a terminal: a line for each change", async (t) => {
  const lines = new Printed(spawn(COMMAND[0] as string, COMMAND.slice(1)));
  const json = new Printed(spawn(COMMAND[0] as string, [...COMMAND.slice(1), "--json"]));
  await sleep(1000);
  const machine = await launch(...PAYLOAD, { stdio: "ignore" });
  const about = (change: string) =>
    new RegExp(`^\\d\\d:\\d\\d:\\d\\d (${change}) +pid ${machine.pid}, .*sleep 120$`, "m");
  await lines.until(about("started|running"));
  await json.until(new RegExp(`"pid":${machine.pid},`));
  machine.kill("SIGKILL");
  await lines.until(about("ended"));
  await json.until(new RegExp(`"change":"ended","pid":${machine.pid},`));
  for (const line of json.text.trim().split("\n")) t.truthy((JSON.parse(line) as { change: string }).change);
  for (const { child } of [lines, json]) {
    const ended = once(child, "close");
    child.kill("SIGTERM");
    t.deepEqual(await ended, [0, null]);
  }
});
