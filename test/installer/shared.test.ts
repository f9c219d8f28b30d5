// SPDX-License-Identifier: Apache-2.0
// Configuration files of others that hold a part of ours, after their owner has changed them: at the way back our part
// goes, and everything else stays as the owner wrote it.
import { chmod, mkdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { apply, removeState, undo } from "../../src/installer/apply/apply.js";
import { Journal } from "../../src/installer/apply/journal.js";
import { withContainerdRuntime } from "../../src/installer/plan/containerd.js";
import { dockerPart, withDockerRuntime } from "../../src/installer/plan/merge.js";
import type { TextStep } from "../../src/installer/plan/steps.js";
import { Crash, crashAt, picture, temporaryFolder } from "./fixtures.js";

const KRUN = "/opt/kontain/bin/krun";

/** A file of somebody's, with our part in it. */
class Shared {
  private constructor(
    readonly folder: string,
    readonly file: string,
    private readonly prefix: string,
    private readonly step: TextStep,
  ) {}

  static async make(
    t: ExecutionContext,
    before: string | null,
    kind: "docker" | "containerd",
  ): Promise<Shared> {
    const root = await temporaryFolder(t);
    const folder = join(root, "etc");
    await mkdir(folder);
    const file = join(folder, kind === "docker" ? "daemon.json" : "config.toml");
    if (before !== null) {
      await writeFile(file, before);
      await chmod(file, 0o600);
    }
    const step: TextStep = { kind: "text", path: file, mode: 0o644, why: "", ...partOf(before, file, kind) };
    return new Shared(folder, file, join(root, "kontain"), step);
  }

  async install(): Promise<void> {
    const journal = (await Journal.open(this.prefix, { create: true })) as Journal;
    await apply(journal, [this.step]);
    await journal.close();
  }

  async uninstall(crash?: number): Promise<string[]> {
    const journal = await Journal.open(this.prefix, { create: false });
    if (!journal) return [];
    try {
      const checkpoint = crash === undefined ? {} : { checkpoint: crashAt(crash) };
      const notes = await undo(journal, 0, checkpoint);
      await removeState(journal);
      return notes;
    } finally {
      await journal.close();
    }
  }

  read(): Promise<string> {
    return readFile(this.file, "utf8");
  }

  async edit(change: (text: string) => string): Promise<void> {
    await writeFile(this.file, change(await this.read()));
  }
}

function partOf(before: string | null, file: string, kind: "docker" | "containerd") {
  if (kind === "docker") {
    return { content: withDockerRuntime(before ?? "", file, "krun", KRUN), part: dockerPart("krun", KRUN) };
  }
  const made = withContainerdRuntime({ main: before, file, version: "1.7.27" }, ["krun"], KRUN);
  if (made.kind !== "write" || !made.part) throw new Error(made.kind);
  return { content: made.content, part: made.part };
}

const DAEMON =
  '{\n    "log-driver": "local",\n    "runtimes": {\n        "runsc": {"path": "/r"}\n    }\n}\n';
const TOML = 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "x" # by hand\n';

for (const [kind, before] of [
  ["docker", DAEMON],
  ["docker", null],
  ["containerd", TOML],
  ["containerd", null],
] as const) {
  test(`${kind}, a file that was ${before ? "" : "not "}there, unchanged since: all is as it was`, async (t) => {
    const it = await Shared.make(t, before, kind);
    const was = await picture(it.folder);
    await it.install();
    t.not(await it.read(), before);
    t.deepEqual(await it.uninstall(), []);
    t.deepEqual(await picture(it.folder), was);
  });
}

test("daemon.json that its owner added to: only the runtime goes, mode and every byte of the rest stay", async (t) => {
  const it = await Shared.make(t, DAEMON, "docker");
  await it.install();
  await it.edit((text) =>
    text.replace("{\n", '{\n  "mtu": 1.40e3,\n').replace('"krun": {', '"y": {"path": "/y"},  "krun": {'),
  );
  t.regex(await it.read(), /krun/);
  t.deepEqual(await it.uninstall(), []);
  t.is(
    await it.read(),
    '{\n  "mtu": 1.40e3,\n    "log-driver": "local",\n    "runtimes": {\n        "runsc": {"path": "/r"},\n        "y": {"path": "/y"}\n    }\n}\n',
  );
  t.is((await stat(it.file)).mode & 0o777, 0o600);
  t.deepEqual((await picture(it.folder)).length, 1, "nothing is kept aside");
});

test("daemon.json written anew by a tool, in another layout and order: the runtime goes, what was made for it too", async (t) => {
  const it = await Shared.make(t, '{"debug": true}', "docker");
  await it.install();
  await it.edit((text) => JSON.stringify({ "live-restore": true, ...JSON.parse(text) }, null, "\t"));
  t.deepEqual(await it.uninstall(), []);
  t.is(await it.read(), '{\n\t"live-restore": true,\n\t"debug": true\n}');
});

test("daemon.json that we made: what the owner added stays; emptied of ours it goes", async (t) => {
  const added = await Shared.make(t, null, "docker");
  await added.install();
  await added.edit((text) => text.replace('"runtimes"', '"debug": true,\n  "runtimes"'));
  await added.uninstall();
  t.deepEqual(JSON.parse(await added.read()), { debug: true });
  const same = await Shared.make(t, null, "docker");
  await same.install();
  await same.edit((text) => JSON.stringify(JSON.parse(text)));
  await same.uninstall();
  t.deepEqual(await picture(same.folder), []);
});

test("a runtime of our name that is somebody else's by now stays", async (t) => {
  const it = await Shared.make(t, DAEMON, "docker");
  await it.install();
  await it.edit((text) => text.replace(KRUN, "/usr/bin/crun-krun"));
  const edited = await it.read();
  t.deepEqual(await it.uninstall(), []);
  t.is(await it.read(), edited);
});

test("the default runtime still names ours: said", async (t) => {
  const it = await Shared.make(t, DAEMON, "docker");
  await it.install();
  await it.edit((text) => text.replace("{\n", '{\n  "default-runtime": "krun",\n'));
  const notes = await it.uninstall();
  t.deepEqual(notes, [`${it.file}: default-runtime still names krun, which is gone: change it`]);
  t.deepEqual(Object.keys(JSON.parse(await it.read()).runtimes), ["runsc"]);
});

test("a file that its owner broke, removed, or made a link stays so, and that is said where something is left", async (t) => {
  const broken = await Shared.make(t, DAEMON, "docker");
  await broken.install();
  await broken.edit((text) => text.slice(0, -4));
  const half = await broken.read();
  const [said] = await broken.uninstall();
  t.regex(said ?? "", /daemon\.json:\d+:\d+: not valid JSON: .*take out what names kontain by hand$/);
  t.is(await broken.read(), half);

  const removed = await Shared.make(t, DAEMON, "docker");
  await removed.install();
  await rm(removed.file);
  t.deepEqual(await removed.uninstall(), []);
  t.deepEqual(await picture(removed.folder), []);

  const linked = await Shared.make(t, DAEMON, "docker");
  await linked.install();
  await rename(linked.file, `${linked.file}.real`);
  await symlink("daemon.json.real", linked.file);
  t.regex((await linked.uninstall())[0] ?? "", /no file of its own any more/);
  t.regex(await linked.read(), /krun/);
});

test("config.toml that its owner added to: our lines go, every other byte stays", async (t) => {
  const it = await Shared.make(t, TOML, "containerd");
  await it.install();
  await it.edit((text) => `# first\n${text}\n[metrics]\naddress = "127.0.0.1:1" # last`);
  t.deepEqual(await it.uninstall(), []);
  t.is(await it.read(), `# first\n${TOML}\n[metrics]\naddress = "127.0.0.1:1" # last`);
});

test("config.toml whose owner changed our lines: left, and named; without them: nothing to say", async (t) => {
  const it = await Shared.make(t, TOML, "containerd");
  await it.install();
  await it.edit((text) => text.replace("BinaryName", "SystemdCgroup = true\n BinaryName"));
  const edited = await it.read();
  t.regex((await it.uninstall())[0] ?? "", /take out by hand .*runtimes\.krun\]/);
  t.is(await it.read(), edited);
  const without = await Shared.make(t, TOML, "containerd");
  await without.install();
  await writeFile(without.file, "version = 2\n");
  t.deepEqual(await without.uninstall(), []);
  t.is(await without.read(), "version = 2\n");
});

test("bytes that are no UTF-8 are not written back as something else: the file stays, and is named", async (t) => {
  for (const [kind, before] of [
    ["docker", DAEMON],
    ["containerd", TOML],
  ] as const) {
    const it = await Shared.make(t, before, kind);
    await it.install();
    await writeFile(it.file, Buffer.concat([await readFile(it.file), Buffer.from([0xff, 0x0a])]));
    const edited = await readFile(it.file);
    t.regex((await it.uninstall())[0] ?? "", /:\d+:1: not valid UTF-8: left as it is/);
    t.deepEqual(await readFile(it.file), edited);
  }
});

test("a crash at any moment of taking it out is gone on from", async (t) => {
  for (let crash = 1; ; crash++) {
    const it = await Shared.make(t, DAEMON, "docker");
    await it.install();
    await it.edit((text) => text.replace("{\n", '{\n  "mtu": 9000,\n'));
    const ended = await it.uninstall(crash).catch((error) => error);
    await it.uninstall();
    t.is(await it.read(), DAEMON.replace("{\n", '{\n  "mtu": 9000,\n'));
    if (!(ended instanceof Crash)) return t.true(crash > 2);
  }
});
