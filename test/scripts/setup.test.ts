// SPDX-License-Identifier: Apache-2.0
// What a machine without the needed packages is told.
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { execa } from "execa";
import { temporaryFolder } from "../installer/fixtures.js";

const SCRIPTS = new URL("../../scripts/", import.meta.url).pathname;

test("missing packages are named, with the one line to run, and nothing is installed when that is not wanted", async (t) => {
  const bin = await temporaryFolder(t);
  await symlink(process.execPath, join(bin, "node"));
  // An apt-get that would be noticed.
  await writeFile(join(bin, "apt-get"), "#!/bin/sh\necho called >&2\n", { mode: 0o755 });
  const run = await execa(process.execPath, [join(SCRIPTS, "setup.mjs"), "build"], {
    env: { PATH: bin, KONTAIN_NO_APT: "1" },
    extendEnv: false,
    reject: false,
  });
  t.is(run.exitCode, 1);
  t.regex(run.stderr, /missing g\+\+: compiles km/);
  t.regex(run.stderr, /missing python3: node-gyp/);
  t.regex(
    run.stderr,
    /run this, then try again: {2}(sudo )?apt-get install -y build-essential make python3$/m,
  );
  t.false(run.stderr.includes("called"));
});

test("a purpose that nobody has is named, with those there are", async (t) => {
  const run = await execa(process.execPath, [join(SCRIPTS, "setup.mjs"), "--help"], { reject: false });
  t.is(run.exitCode, 2);
  t.is(run.stderr, "setup: no purpose is called --help; there are build, test, lab");
});

test("as root the packages are installed and said to be; what apt does not bring is an error", async (t) => {
  if (process.getuid?.() !== 0) {
    t.pass("only root installs");
    return;
  }
  const bin = await temporaryFolder(t);
  const script = (body: string) => writeFile(join(bin, "apt-get"), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  const setup = () =>
    execa(process.execPath, [join(SCRIPTS, "setup.mjs"), "build"], {
      env: { PATH: `${bin}` },
      extendEnv: false,
      reject: false,
    });
  await script("echo E: no network; exit 100");
  const failed = await setup();
  t.is(failed.exitCode, 1);
  t.regex(failed.stderr, /E: no network/);
  t.regex(failed.stderr, /apt-get did not bring build-essential, make, python3/);

  // One that "installs" empty programs.
  await script(`for name in g++ make python3; do : >"${bin}/$name"; /bin/chmod 755 "${bin}/$name"; done`);
  const good = await setup();
  t.is(good.exitCode, 0, good.stderr);
  t.regex(good.stderr, /setup: apt-get install -y build-essential make python3/);
  t.is((await setup()).stderr, "");
});

test("native sources: new files are found, doors and test folders are kept apart", async (t) => {
  const root = await temporaryFolder(t);
  for (const file of [
    "driver/a.cc",
    "driver/b.S",
    "driver/c.h",
    "km/main.cc",
    "binding/x.cc",
    "state/test/t.cc",
    "d.c",
  ]) {
    await mkdir(join(root, "native", file, ".."), { recursive: true });
    await writeFile(join(root, "native", file), "");
  }
  const list = async (...args: string[]) => {
    const run = await execa(process.execPath, [join(SCRIPTS, "sources.mjs"), ...args], { cwd: root });
    return run.stdout.split("\n").filter(Boolean);
  };
  t.deepEqual(await list("core"), ["native/d.c", "native/driver/a.cc", "native/driver/b.S"]);
  t.deepEqual(await list("km"), ["native/km/main.cc"]);
  t.deepEqual(await list("--has", "binding"), ["yes"]);
  await t.throwsAsync(list("nonsense"), { message: /no native target named 'nonsense'/ });
});
