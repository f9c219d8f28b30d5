// SPDX-License-Identifier: Apache-2.0
// Upgrades from files: real archives made by tar(1), good ones and bad ones; whatever is wrong with the file, it is one
// line and the installation stays as it is.
import { createHash } from "node:crypto";
import { chmod, mkdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import fc from "fast-check";
import { sha256 } from "../../src/base/files.js";
import type { Checkpoint } from "../../src/installer/apply/journal.js";
import { ArchiveError, readTar } from "../../src/installer/archive.js";
import { detectPrefix } from "../../src/installer/detect/prefix.js";
import { install, uninstall } from "../../src/installer/install.js";
import type { InstallEvent } from "../../src/installer/ui/events.js";
import { upgrade } from "../../src/installer/upgrade.js";
import type { HelloRun } from "../../src/installer/verify/hello.js";
import { bundleFile, host, picture, plant, RAN, skipped, smallDisk, temporaryFolder } from "./fixtures.js";

/** Every file a package must have, and two that do not go onto the host. */
function packageFiles(version: string): Record<string, string> {
  return {
    "package.json": JSON.stringify({ name: "kontain-install", version }),
    "build/bin/km": `km ${version}`,
    "build/tests/hello_test.km": `hello ${version}`,
    "examples/c/hello.c": `example ${version}`,
    "kkm/main.c": `module ${version}`,
    "kkm/kkm.mod.c": "made by a build",
    "dist/cli/kontain.js": "not for the host",
    LICENSE: "license",
  };
}

class World {
  readonly events: InstallEvent[] = [];
  private constructor(
    readonly root: string,
    readonly prefix: string,
    readonly before: string[],
  ) {}

  /** A host on which version 1.0.0 is installed. */
  static async make(t: ExecutionContext): Promise<World> {
    const root = await temporaryFolder(t);
    await plant(root, { "host/kontain/bin/theirs": "somebody's", "host/else": "x" });
    const world = new World(root, join(root, "host/kontain"), await picture(join(root, "host")));
    const source = join(root, "old-km");
    await writeFile(source, "km 1.0.0");
    const files = [{ source, target: "bin/km", mode: 0o755, sha256: await sha256(source) }];
    const bundle = { version: "1.0.0", files, missing: [] };
    const outcome = await install({
      wishes: { prefix: world.prefix },
      report: () => {},
      consent: async () => true,
      doors: {
        detect: async () => host({ bundle, prefix: await detectPrefix(world.prefix, files) }),
        runHello: async () => RAN,
      },
    });
    t.is(outcome, "installed");
    return world;
  }

  /** An archive of a folder package/ with these files; `spoil` changes the folder before. */
  async pack(files: Record<string, string>, spoil?: (folder: string) => Promise<unknown>): Promise<string> {
    const folder = join(this.root, "pack/package");
    await rm(folder, { recursive: true, force: true });
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), content);
    }
    await spoil?.(folder);
    const file = join(this.root, "kontain.tgz");
    await execa("tar", ["--format=ustar", "-czf", file, "-C", join(this.root, "pack"), "package"]);
    return file;
  }

  upgrade(
    file: string,
    more: {
      sha256?: string;
      run?: HelloRun;
      agree?: boolean;
      signal?: AbortSignal;
      checkpoint?: Checkpoint;
    } = {},
  ) {
    return upgrade({
      file,
      ...(more.signal ? { signal: more.signal } : {}),
      ...(more.sha256 ? { sha256: more.sha256 } : {}),
      wishes: { prefix: this.prefix },
      report: (event) => this.events.push(event),
      consent: async () => more.agree ?? true,
      doors: {
        // What the package brings is put in by upgrade() itself; the prefix is looked at after that.
        detect: async () => host({ prefix: await detectPrefix(this.prefix, []) }),
        runHello: async () => more.run ?? RAN,
        ...(more.checkpoint ? { checkpoint: more.checkpoint } : {}),
      },
    });
  }

  uninstall() {
    return uninstall({ prefix: this.prefix, report: () => {}, consent: async () => true });
  }

  /** Without the journal, which notes tries that were taken back. */
  async tree() {
    const lines = await picture(join(this.root, "host"));
    return lines.filter((line) => !line.startsWith("kontain/.install/journal"));
  }

  problem(): { id: string; line: string } {
    const problem = this.events.findLast((event) => event.type === "problem");
    const result = this.events.at(-1);
    return {
      id: problem?.type === "problem" ? problem.problem.id : "",
      line: result?.type === "result" ? result.message : "",
    };
  }
}

test("a newer package replaces the older one; uninstalling goes back to before both", async (t) => {
  const w = await World.make(t);
  const file = await w.pack(packageFiles("2.0.0"));
  t.is(await w.upgrade(file), "installed");
  t.is(await readFile(join(w.prefix, "bin/km"), "utf8"), "km 2.0.0");
  t.is(await readFile(join(w.prefix, "kkm/main.c"), "utf8"), "module 2.0.0");
  const names = (await picture(w.prefix)).map((line) => line.split(" ")[0]);
  t.false(names.some((name) => /kontain\.js|mod\.c|package\.json/.test(name ?? "")));
  t.like(w.events[0], { type: "start", version: "2.0.0" });
  t.is(await w.uninstall(), "uninstalled");
  t.deepEqual(await picture(join(w.root, "host")), w.before);
});

test("a newer package whose program does not run leaves the older one", async (t) => {
  const w = await World.make(t);
  const before = await w.tree();
  const run = { ...RAN, works: false, problem: "exit status 7" };
  t.is(await w.upgrade(await w.pack(packageFiles("2.0.0")), { run }), "failed");
  t.deepEqual(await w.tree(), before);
  t.is(await readFile(join(w.prefix, "bin/km"), "utf8"), "km 1.0.0");
});

test("not agreed to: nothing is changed", async (t) => {
  const w = await World.make(t);
  const before = await w.tree();
  t.is(await w.upgrade(await w.pack(packageFiles("2.0.0")), { agree: false }), "declined");
  t.deepEqual(await w.tree(), before);
});

test("interrupted half-way: the same command goes on, and so does uninstalling", async (t) => {
  for (const back of [false, true]) {
    const w = await World.make(t);
    const file = await w.pack(packageFiles("2.0.0"));
    const stopper = new AbortController();
    const checkpoint: Checkpoint = (where) => {
      if (/^performed .*hello_test\.km$/.test(where)) stopper.abort();
    };
    t.is(await w.upgrade(file, { signal: stopper.signal, checkpoint }), "interrupted");
    t.is(await readFile(join(w.prefix, "tests/hello_test.km"), "utf8"), "hello 2.0.0");
    if (!back) {
      t.is(await w.upgrade(file), "installed");
      t.is(await readFile(join(w.prefix, "kkm/main.c"), "utf8"), "module 2.0.0");
    }
    t.is(await w.uninstall(), "uninstalled");
    t.deepEqual(await picture(join(w.root, "host")), w.before);
  }
});

test("the checksum: given, or beside the file; a wrong one stops it", async (t) => {
  const w = await World.make(t);
  const before = await w.tree();
  const file = await w.pack(packageFiles("2.0.0"));
  const right = await sha256(file);
  const wrong = createHash("sha256").update("x").digest("hex");
  t.is(await w.upgrade(file, { sha256: wrong }), "failed");
  t.is(w.problem().id, "upgrade-checksum");
  t.regex(w.problem().line, new RegExp(`kontain\\.tgz: its SHA-256 is ${right}, not ${wrong}`));
  await writeFile(`${file}.sha256`, `${wrong}  kontain.tgz\n`);
  t.is(await w.upgrade(file), "failed");
  t.is(w.problem().id, "upgrade-checksum");
  await writeFile(`${file}.sha256`, "<html>not found</html>\n");
  t.is(await w.upgrade(file), "failed");
  t.regex(w.problem().line, /holds no SHA-256/);
  t.deepEqual(await w.tree(), before);
  await writeFile(`${file}.sha256`, `${right.toUpperCase()}  kontain.tgz\n`);
  t.is(await w.upgrade(file), "installed");
});

/** What is wrong with a file, and what is said of it. */
const BAD: [what: string, make: (w: World) => Promise<string>, line: RegExp][] = [
  ["not there", async (w) => join(w.root, "none.tgz"), /none\.tgz: ENOENT/],
  ["a folder", async (w) => w.root, /EISDIR/],
  [
    "a download that was interrupted",
    async (w) => {
      const file = await w.pack({ ...packageFiles("2.0.0"), "examples/big": "big".repeat(10_000) });
      await truncate(file, (await readFile(file)).length - 60);
      return file;
    },
    /ends in the middle/,
  ],
  [
    "a page that says it is not there",
    async (w) => {
      const file = join(w.root, "page.tgz");
      await writeFile(file, "<html>404</html>");
      return file;
    },
    /no gzip-ed archive/,
  ],
  [
    "gzip-ed, but no archive",
    async (w) => {
      const file = join(w.root, "text.tgz");
      await writeFile(file, gzipSync("text ".repeat(1000)));
      return file;
    },
    /no tar archive/,
  ],
  [
    "too large when it is unpacked",
    async (w) => {
      const file = join(w.root, "bomb.tgz");
      await writeFile(file, gzipSync(Buffer.alloc(600 << 20), { level: 1 }));
      return file;
    },
    /more than 512 MiB/,
  ],
  [
    "another package",
    (w) => w.pack({ "package.json": '{"name": "left-pad", "version": "1.0.0"}' }),
    /no package of kontain-install/,
  ],
  ["without package.json", (w) => w.pack({ LICENSE: "" }), /no package of kontain-install/],
  [
    "a package that is not whole",
    async (w) => {
      const { "build/bin/km": _, ...files } = packageFiles("2.0.0");
      return w.pack(files);
    },
    /lacks build\/bin\/km/,
  ],
  [
    "a link in place of a file",
    (w) =>
      w.pack(packageFiles("2.0.0"), async (folder) => {
        await rm(join(folder, "build/bin/km"));
        await symlink("/bin/sh", join(folder, "build/bin/km"));
      }),
    /build\/bin\/km" in it is no ordinary file/,
  ],
  [
    "one name for a file and a folder",
    async (w) => {
      const file = await w.pack({ ...packageFiles("2.0.0"), "other/x.c": "below a file" });
      const args = ["--transform", "s,other,kkm/main.c,", "-czf", file, "-C"];
      await execa("tar", [
        "--format=ustar",
        ...args,
        join(w.root, "pack"),
        "package/package.json",
        "package/kkm",
        "package/other/x.c",
      ]);
      return file;
    },
    /main\.c\/x\.c" in it cannot be unpacked/,
  ],
  [
    "a name that leads out of it",
    async (w) => {
      const file = await w.pack(packageFiles("2.0.0"));
      const args = ["--transform", "s,examples,../../../../examples,", "-P", "-czf", file, "-C"];
      await execa("tar", ["--format=ustar", ...args, join(w.root, "pack"), "package"]);
      return file;
    },
    /a name that no package has/,
  ],
];

for (const [what, make, line] of BAD) {
  test(`a file that is ${what}: one line, nothing changed`, async (t) => {
    const w = await World.make(t);
    const before = await w.tree();
    t.is(await w.upgrade(await make(w)), "failed");
    t.is(w.problem().id, "upgrade-file");
    t.regex(w.problem().line, line);
    t.is(w.problem().line.split("\n").length, 1);
    t.deepEqual(await w.tree(), before);
  });
}

test.serial("no room to unpack it: said so, nothing changed, nothing left", async (t) => {
  const w = await World.make(t);
  const file = await w.pack({ ...packageFiles("2.0.0"), "build/bin/km": "km".repeat(500_000) });
  const disk = await smallDisk(t, "size=256k");
  if (!disk) return skipped(t, "no file system can be mounted here");
  const before = await w.tree();
  const usual = process.env.TMPDIR;
  process.env.TMPDIR = disk;
  try {
    t.is(await w.upgrade(file), "failed");
    t.is(w.problem().id, "disk-full");
    t.regex(w.problem().line, /^not upgraded: .*kontain-upgrade-.*: ENOSPC/);
    t.deepEqual(await picture(disk), []);
    process.env.TMPDIR = join(disk, "none");
    t.is(await w.upgrade(file), "failed");
    t.is(w.problem().id, "step-failed");
    t.regex(w.problem().line, /^not upgraded: ENOENT.*none\/kontain-upgrade-/);
  } finally {
    if (usual === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = usual;
  }
  t.deepEqual(await w.tree(), before);
});

test("an older package is refused; with nothing installed there is nothing to upgrade", async (t) => {
  const w = await World.make(t);
  t.is(await w.upgrade(await w.pack(packageFiles("0.9.0"))), "failed");
  t.is(w.problem().id, "upgrade-older");
  await w.uninstall();
  t.is(await w.upgrade(await w.pack(packageFiles("2.0.0"))), "nothing-installed");
  t.deepEqual(await picture(join(w.root, "host")), w.before);
});

test("whatever the bytes, an archive is read or is an ArchiveError, and names stay below the top", async (t) => {
  const w = await World.make(t);
  const file = await w.pack(packageFiles("2.0.0"));
  const whole = gunzipSync(await readFile(file));
  const flips = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 });
  const read = (bytes: Uint8Array) => {
    try {
      for (const name of readTar(bytes).keys()) t.false(/(^|\/)\.\.?(\/|$)|^\/|\/\/|^$/.test(name), name);
    } catch (error) {
      t.true(error instanceof ArchiveError, String(error));
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 2048 }), read));
  fc.assert(
    fc.property(flips, fc.nat(whole.length), (changes, end) => {
      const bytes = Uint8Array.from(whole.subarray(0, end));
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      read(bytes);
    }),
  );
});

test("the staged files are the user's alone, and gone afterwards", async (t) => {
  const w = await World.make(t);
  const file = await w.pack(packageFiles("2.0.0"));
  await chmod(file, 0o644);
  let seen = "";
  const outcome = await upgrade({
    file,
    wishes: { prefix: w.prefix },
    report: (event) => {
      const step = event.type === "plan" && event.plan.steps.find(({ kind }) => kind === "file");
      if (step && step.kind === "file") seen = step.source;
    },
    consent: async () => {
      const { mode } = await import("node:fs/promises").then(({ stat }) =>
        stat(seen.replace(/\/build.*/, "")),
      );
      t.is(mode & 0o777, 0o700);
      return false;
    },
    doors: { detect: async () => host({ bundle: { version: "", files: [bundleFile("x")], missing: [] } }) },
  });
  t.is(outcome, "declined");
  t.regex(seen, /kontain-upgrade-.*\/build\/bin\/km$/);
  await t.throwsAsync(readFile(seen), { code: "ENOENT" });
});
