// SPDX-License-Identifier: Apache-2.0
// The programs as a person or a script meets them: exit status, where lines go, what --json prints.
import { cp, mkdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { execa } from "execa";
import { readBundle } from "../../src/installer/bundle.js";
import { detectDevice } from "../../src/installer/detect/device.js";
import type { InstallEvent } from "../../src/installer/ui/events.js";
import { picture, temporaryFolder } from "../installer/fixtures.js";

// The built programs that bin/ starts: `npm test` builds before it tests.
const PROGRAMS = new URL("../../dist/cli/", import.meta.url).pathname;

function cli(program: "kontain" | "kontain-install", ...args: string[]) {
  return execa(process.execPath, [join(PROGRAMS, `${program}.js`), ...args], {
    reject: false,
    stdin: "ignore",
  });
}

function events(stdout: string): InstallEvent[] {
  return stdout.split("\n").map((line) => JSON.parse(line) as InstallEvent);
}

test("wrong usage is one line, how to get help, and status 2", async (t) => {
  for (const args of [["--no-such-option"], ["surplus"], ["--prefix", "/"], ["--prefix", ""]]) {
    const run = await cli("kontain-install", ...args);
    t.is(run.exitCode, 2, args.join(" "));
    t.is(run.stdout, "");
    t.true(run.stderr.split("\n").filter(Boolean).length <= 2, run.stderr);
  }
  t.is((await cli("kontain", "no-such-verb")).exitCode, 2);
});

test("help and version end with status 0", async (t) => {
  const help = await cli("kontain-install", "--help");
  t.is(help.exitCode, 0);
  for (const option of ["--yes", "--no-input", "--json", "--dry-run", "--prefix", "--device"]) {
    t.true(help.stdout.includes(option), option);
  }
  t.is((await cli("kontain", "--help")).exitCode, 0);
  const version = await cli("kontain", "version", "--json", "--prefix", "/nowhere");
  t.like(JSON.parse(version.stdout), { installed: null, prefix: "/nowhere" });
});

test("a device that does not exist is refused: status 3, a reason and a way out on stderr", async (t) => {
  const prefix = join(await temporaryFolder(t), "kontain");
  const run = await cli("kontain-install", "--yes", "--prefix", prefix, "--device", "/dev/no-such-device");
  t.is(run.exitCode, 3);
  t.regex(run.stderr, /cannot install: there is no \/dev\/no-such-device\n {2}way out: /);
});

test("a prefix in a file is refused", async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, "file"), "");
  const run = await cli("kontain-install", "--yes", "--json", "--prefix", join(folder, "file/sub"));
  t.is(run.exitCode, 3);
  t.is(run.stderr, "");
  t.like(events(run.stdout).at(-1), { type: "result", outcome: "refused" });
});

test("uninstalling what is not installed: status 1 and one line", async (t) => {
  const run = await cli("kontain", "uninstall", "--yes", "--prefix", join(await temporaryFolder(t), "none"));
  t.is(run.exitCode, 1);
  t.regex(run.stderr, /nothing is installed in/);
});

/** Whether this machine can run a machine: then the next test installs for real; otherwise it must be refused. */
async function workingDevice(): Promise<string | undefined> {
  const { files } = await readBundle();
  const source = (target: string) => files.find((file) => file.target === target)?.source;
  const [monitor, hello] = [source("bin/km"), source("tests/hello_test.km")];
  if (!monitor || !hello) return undefined;
  for (const path of ["/dev/kontain", "/dev/kvm", "/dev/kkm"]) {
    if ((await detectDevice(path, { monitor, hello })).state === "works") return path;
  }
  return undefined;
}

test("installs, shows what the payload printed, and goes without a trace; or is refused where there is no device", async (t) => {
  const folder = await temporaryFolder(t);
  const prefix = join(folder, "opt/kontain");
  const device = await workingDevice();
  t.log(device ? `on ${device}` : "no device works on this machine: the refusal is tested");

  t.is((await cli("kontain-install", "--dry-run", "--prefix", prefix)).exitCode, device ? 0 : 3);
  t.is((await cli("kontain-install", "--no-input", "--prefix", prefix)).exitCode, device ? 4 : 3);
  t.deepEqual(await picture(folder), []);

  const run = await cli("kontain-install", "--yes", "--json", "--prefix", prefix);
  const last = events(run.stdout).at(-1);
  if (!device) {
    t.is(run.exitCode, 3);
    t.like(last, { type: "result", outcome: "refused" });
    return;
  }
  t.is(run.exitCode, 0, run.stdout);
  t.like(last, { type: "result", outcome: "installed" });
  const verified = events(run.stdout).find((event) => event.type === "verify");
  t.true(verified?.type === "verify" && verified.run.stdout.startsWith("Hello, world\n"));
  const hello = await execa(join(prefix, "bin/km"), [join(prefix, "tests/hello_test.km"), "again"]);
  t.is(hello.stdout, "Hello, world\nargument 1: again");

  const version = await cli("kontain", "version", "--json", "--prefix", prefix);
  t.regex(JSON.parse(version.stdout).monitor, /Kontain Monitor v/);
  t.is((await cli("kontain", "uninstall", "--yes", "--prefix", prefix)).exitCode, 0);
  t.deepEqual(await picture(folder), []);
});

/** This package as `npm pack` would write it, under another version and with one more example. */
async function newerPackage(folder: string, version: string): Promise<string> {
  const root = new URL("../../", import.meta.url).pathname;
  const top = join(folder, "pack/package");
  for (const name of ["build/bin/km", "build/tests/hello_test.km", "examples", "kkm", "LICENSE"]) {
    await cp(join(root, name), join(top, name), { recursive: true });
  }
  await writeFile(join(top, "package.json"), JSON.stringify({ name: "kontain-install", version }));
  await writeFile(join(top, "examples/new"), "new");
  const file = join(folder, "kontain.tgz");
  await execa("tar", ["--format=ustar", "-czf", file, "-C", join(folder, "pack"), "package"]);
  return file;
}

test("upgrades an installation from a file, runs the payload of the new one, and goes without a trace", async (t) => {
  const folder = await temporaryFolder(t);
  const prefix = join(folder, "opt/kontain");
  const usage = await cli("kontain", "upgrade", "--prefix", prefix);
  t.is(usage.exitCode, 2);
  t.regex(usage.stderr, /--from/);
  t.is((await cli("kontain", "upgrade", "--from", "x", "--sha256", "12")).exitCode, 2);
  if (!(await workingDevice())) return t.log("no device works on this machine: nothing can be installed");
  await mkdir(join(folder, "opt"));
  const before = await picture(join(folder, "opt"));
  t.is((await cli("kontain-install", "--yes", "--prefix", prefix)).exitCode, 0);

  const file = await newerPackage(folder, "9.0.0");
  const run = await cli("kontain", "upgrade", "--from", file, "--yes", "--json", "--prefix", prefix);
  t.is(run.exitCode, 0, run.stdout);
  t.like(events(run.stdout).at(-1), { type: "result", outcome: "installed" });
  const verified = events(run.stdout).find((event) => event.type === "verify");
  t.true(verified?.type === "verify" && verified.run.stdout.startsWith("Hello, world\n"));
  t.is(await readFile(join(prefix, "examples/new"), "utf8"), "new");
  const version = await cli("kontain", "version", "--json", "--prefix", prefix);
  t.like(JSON.parse(version.stdout), { installed: "9.0.0" });

  await truncate(file, 1000);
  const cut = await cli("kontain", "upgrade", "--from", file, "--yes", "--prefix", prefix);
  t.is(cut.exitCode, 1);
  t.regex(cut.stderr, /not upgraded: .*ends in the middle/);
  t.is((await cli("kontain", "uninstall", "--yes", "--prefix", prefix)).exitCode, 0);
  t.deepEqual(await picture(join(folder, "opt")), before);
});
