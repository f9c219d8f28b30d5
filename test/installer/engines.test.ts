// SPDX-License-Identifier: Apache-2.0
// The installer itself, run as root of a namespace of its own in which /etc is a copy: what it makes of a daemon.json that
// is really there. Where no docker is installed a program of its name, which only says a version, stands for its presence.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { which } from "../../scripts/packages.mjs";
import type { InstallEvent } from "../../src/installer/ui/events.js";
import { contents, picture, skipped, temporaryFolder } from "./fixtures.js";

const INSTALL = new URL("runtime-install.ts", import.meta.url).pathname;
const KONTAIN = new URL("../../src/cli/kontain.ts", import.meta.url).pathname;
const FILE = "/etc/docker/daemon.json";

/** A copy of /etc with this daemon.json in it, and whatever runs with it in the place of /etc. */
class Machine {
  private constructor(
    readonly folder: string,
    private readonly path: string,
  ) {}

  /** undefined: this machine has no such namespaces for us. */
  static async make(t: ExecutionContext, daemon: string): Promise<Machine | undefined> {
    const probe = await execa("unshare", ["--map-root-user", "--mount", "mount", "--bind", "/tmp", "/mnt"], {
      reject: false,
    });
    if (probe.exitCode !== 0) return undefined;
    const folder = await temporaryFolder(t);
    const machine = new Machine(folder, which("docker") ? "" : `${join(folder, "bin")}:`);
    await mkdir(machine.at("etc"));
    // What an ordinary user may not read is not missed.
    await execa("cp", ["-a", "/etc/.", machine.at("etc")], { reject: false });
    await mkdir(machine.at("etc/docker"), { recursive: true });
    await writeFile(machine.daemon, daemon);
    for (const name of ["bin", "package"]) await mkdir(machine.at(name));
    await writeFile(machine.at("bin/docker"), "#!/bin/sh\necho 'Docker version 28.0.0'\n", { mode: 0o755 });
    await writeFile(machine.at("package/krun"), "#!/bin/sh\n");
    return machine;
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  get daemon(): string {
    return this.at("etc/docker/daemon.json");
  }

  /** Runs a program of the toolkit. */
  run(program: string, ...args: string[]) {
    const inside = 'mount --bind "$1" /etc && shift && exec "$@"';
    const command = [process.execPath, "--import=tsx", program, ...args];
    return execa(
      "unshare",
      ["--map-root-user", "--mount", "sh", "-c", inside, "kontain", this.at("etc"), ...command],
      { reject: false, stdin: "ignore", env: { PATH: `${this.path}${process.env.PATH}` } },
    );
  }

  /** Installs or, with "back", uninstalls; gives the events. */
  async events(...direction: ["back"] | []): Promise<InstallEvent[]> {
    const { stdout, stderr } = await this.run(INSTALL, this.at("package"), this.at("kontain"), ...direction);
    if (stdout === "") throw new Error(stderr);
    return stdout.split("\n").map((line) => JSON.parse(line) as InstallEvent);
  }
}

const GOOD = '{\n\t"log-driver": "local"\n}\n';
const KEPT = '{\n\t"log-driver": "local",\n\t"mtu": 1.4e3\n}\n';

for (const [what, daemon, place, words] of [
  [
    "cut off in the middle",
    '{\n  "runtimes": {\n    "runsc": {"path": "/r"},\n',
    "3:29",
    "it ends too early",
  ],
  ["with a comma too many", '{\n  "debug": true,\n}\n', "3:1", 'unexpected "}"'],
  [
    "with other runtimes than docker takes",
    '{\n  "runtimes": ["runsc"]\n}\n',
    "2:3",
    '"runtimes" is no object',
  ],
] as const) {
  test(`a daemon.json ${what}: one line with file, line and column, and nothing is changed`, async (t) => {
    const machine = await Machine.make(t, daemon);
    if (!machine) return skipped(t, "no namespaces of one's own here");
    const before = await picture(machine.folder);
    const events = await machine.events();
    t.deepEqual(await picture(machine.folder), before);
    const refusal = events.find((event) => event.type === "refusal");
    t.like(refusal, { refusal: { code: "engine-config-broken" } });
    const last = events.at(-1);
    if (last?.type !== "result") return t.fail();
    t.is(last.outcome, "refused");
    t.true(last.message.startsWith(`cannot install: ${FILE}:${place}: `), last.message);
    t.true(last.message.endsWith(words) && !last.message.includes("\n"), last.message);
    t.false(last.message.includes("runsc"), "nothing of the file is quoted");
  });
}

test("the doctor says of the same file where it is broken", async (t) => {
  const machine = await Machine.make(t, '{\n  "debug": true,\n}\n');
  if (!machine) return skipped(t, "no namespaces of one's own here");
  const { stdout, stderr } = await machine.run(
    KONTAIN,
    "doctor",
    "--offline",
    "--json",
    "--only",
    "KKM-ENG-002",
  );
  const [result] = (JSON.parse(stdout || stderr) as { results: object[] }).results;
  t.like(result, { verdict: "fail", evidence: `${FILE}:3:1: not valid JSON: unexpected "}"` });
});

test("a good daemon.json: the runtime comes in and goes, with and without the owner's changes in between", async (t) => {
  const machine = await Machine.make(t, GOOD);
  if (!machine) return skipped(t, "no namespaces of one's own here");
  const before = await contents(machine.folder);
  t.like((await machine.events()).at(-1), { outcome: "installed" });
  const runtime = { krun: { path: machine.at("kontain/bin/krun") } };
  t.deepEqual(JSON.parse(await readFile(machine.daemon, "utf8")), {
    "log-driver": "local",
    runtimes: runtime,
  });
  t.like((await machine.events("back")).at(-1), { outcome: "uninstalled" });
  t.deepEqual(await contents(machine.folder), before);

  await machine.events();
  const edited = (await readFile(machine.daemon, "utf8")).replace('"local",', '"local",\n\t"mtu": 1.4e3,');
  await writeFile(machine.daemon, edited);
  t.like((await machine.events("back")).at(-1), { outcome: "uninstalled" });
  t.is(await readFile(machine.daemon, "utf8"), KEPT);
});
