// SPDX-License-Identifier: Apache-2.0
// Steps that are commands, with real commands on real files: taken back exactly, resumed after a crash at any moment, and
// careful with files that others have changed since.
import { appendFile, cp, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { apply, Interrupted, removeState, undo } from "../../src/installer/apply/apply.js";
import { StepError } from "../../src/installer/apply/commands.js";
import { type Checkpoint, Journal } from "../../src/installer/apply/journal.js";
import { rebuildScript } from "../../src/installer/kkm-scripts.js";
import { type RunStep, run, type Step, sh } from "../../src/installer/plan/steps.js";
import {
  Crash,
  contents,
  crashAt,
  plant,
  smallDisk,
  takeLog,
  temporaryFolder,
  type World,
} from "./fixtures.js";

function runStep(changes: Partial<RunStep> & Pick<RunStep, "argv">): RunStep {
  return run({ name: "group", title: "a command", seconds: 30, ...changes });
}

/** A host with a list that commands add to (as groupadd does to /etc/group) and an index made of a folder (as depmod's). */
async function world(t: ExecutionContext): Promise<World> {
  const root = await temporaryFolder(t);
  const host = join(root, "host");
  const prefix = join(host, "kontain");
  await mkdir(host);
  await plant(host, { "etc/list": "root\n", "lib/index": "ext4\n", "lib/ext4": "module" });
  const list = join(host, "etc/list");
  const lib = join(host, "lib");
  const steps: Step[] = [
    runStep({
      title: "add kkm to the list",
      // In place, as the worst of tools: a hard link to it would change along.
      argv: sh('echo kkm >>"$1"; echo "$1" >"$1-"', list),
      touches: [
        { path: list, ours: false },
        { path: `${list}-`, ours: false },
      ],
      merge: sh('grep -v "^kkm$" "$1" >"$1.new"; mv "$1.new" "$1"', list),
    }),
    { kind: "text", path: join(host, "etc/rule"), content: "rule\n", mode: 0o644, why: "a rule" },
    runStep({
      name: "build",
      title: "build the module",
      argv: sh('echo built >"$1/kkm"; ls "$1" | grep -v index >"$1/index"', lib),
      touches: [
        { path: join(lib, "kkm"), ours: true },
        { path: join(lib, "index"), ours: false },
      ],
      merge: sh('ls "$1" | grep -v index >"$1/index"', lib),
    }),
    runStep({
      name: "load",
      title: "load it",
      argv: sh('touch "$1/loaded"', host),
      undo: sh('rm -f "$1/loaded"', host),
    }),
  ];
  return { root, prefix, steps, before: await contents(host) };
}

const tree = (w: World) => contents(join(w.root, "host"));

async function forward(
  { prefix, steps }: World,
  options: Parameters<typeof apply>[2] = {},
): Promise<string[]> {
  const journal = (await Journal.open(prefix, { create: true })) as Journal;
  try {
    return await apply(journal, steps, options);
  } finally {
    await journal.close();
  }
}

async function backward({ prefix }: World, checkpoint?: Checkpoint): Promise<string[] | undefined> {
  const journal = await Journal.open(prefix, { create: false });
  if (!journal) return undefined;
  try {
    const notes = await undo(journal, 0, checkpoint ? { checkpoint } : {});
    await removeState(journal, checkpoint);
    return notes;
  } finally {
    await journal.close();
  }
}

test("commands do what they say, and are taken back to the byte and the time", async (t) => {
  const w = await world(t);
  t.deepEqual(await forward(w), []);
  t.is(await readFile(join(w.root, "host/etc/list"), "utf8"), "root\nkkm\n");
  t.is(await readFile(join(w.root, "host/lib/index"), "utf8"), "ext4\nkkm\n");
  t.true((await stat(join(w.root, "host/loaded"))).isFile());
  t.deepEqual(await backward(w), []);
  t.deepEqual(await tree(w), w.before);
});

test("times of what a command changed come back to the nanosecond", async (t) => {
  const w = await world(t);
  const list = join(w.root, "host/etc/list");
  await writeFile(list, "written now, at no round time\n");
  const time = async () => (await stat(list, { bigint: true })).mtimeNs;
  const before = await time();
  await forward(w);
  t.not(await time(), before);
  await backward(w);
  t.is(await time(), before);
});

test("a crash at any moment forward can be taken back or gone on from", async (t) => {
  for (let n = 1; ; n++) {
    const back = await world(t);
    const crash = await forward(back, { checkpoint: crashAt(n) }).catch((error) => error);
    await backward(back);
    t.deepEqual(await tree(back), back.before, `taken back after a crash at ${n}`);

    const on = await world(t);
    await forward(on, { checkpoint: crashAt(n) }).catch((error) =>
      t.true(error instanceof Crash, String(error)),
    );
    await forward(on);
    t.is(await readFile(join(on.root, "host/lib/kkm"), "utf8"), "built\n");
    await backward(on);
    t.deepEqual(await tree(on), on.before, `gone on after a crash at ${n}`);
    if (!(crash instanceof Crash)) {
      t.true(n > 12, "the crashes covered every step");
      return;
    }
  }
});

test("a crash at any moment backward is gone on from", async (t) => {
  for (let n = 1; ; n++) {
    const w = await world(t);
    await forward(w);
    const crash = await backward(w, crashAt(n)).catch((error) => error);
    await backward(w);
    t.deepEqual(await tree(w), w.before, `crash at ${n}`);
    if (!(crash instanceof Crash)) {
      t.true(n > 6, "the crashes covered every step");
      return;
    }
  }
});

test("a crash in the middle of putting files back is gone on from", async (t) => {
  const w = await world(t);
  await forward(w);
  const list = join(w.root, "host/etc/list");
  // What the list's step does first when it is taken back; then the lights go out.
  const journal = (await Journal.open(w.prefix, { create: false })) as Journal;
  const seq = journal.records.find((record) => record.type === "intent")?.seq;
  await writeFile(list, "root\n");
  await utimes(list, 1_000_000_000, 1_000_000_000);
  await rm(journal.backupPath(`${seq}.0`));
  await journal.close();
  await backward(w);
  t.deepEqual(await tree(w), w.before);
});

test("what others changed since stays; only our part goes", async (t) => {
  const w = await world(t);
  await forward(w);
  await appendFile(join(w.root, "host/etc/list"), "anna\n");
  await writeFile(join(w.root, "host/lib/nvidia"), "module of others");
  await writeFile(join(w.root, "host/lib/index"), "ext4\nkkm\nnvidia\n");
  t.deepEqual(await backward(w), []);
  t.is(await readFile(join(w.root, "host/etc/list"), "utf8"), "root\nanna\n");
  t.is(await readFile(join(w.root, "host/lib/index"), "utf8"), "ext4\nnvidia\n");
  await t.throwsAsync(stat(join(w.root, "host/lib/kkm")));
});

test("a command that fails names its reason, keeps its output, and can be taken back", async (t) => {
  const w = await world(t);
  const failing = runStep({
    name: "build",
    title: "build the module",
    argv: sh(
      'echo half >"$1"; echo "kkm: compiler mismatch: gcc 12" >&2; exit 11',
      join(w.root, "host/lib/kkm"),
    ),
    touches: [{ path: join(w.root, "host/lib/kkm"), ours: true }],
  });
  const error = await t.throwsAsync(forward({ ...w, steps: [...w.steps.slice(0, 2), failing] }), {
    instanceOf: StepError,
  });
  t.is(error?.problem.id, "build-compiler");
  t.regex((await takeLog(error?.problem.evidence)).log, /compiler mismatch: gcc 12/);
  await backward(w);
  t.deepEqual(await tree(w), w.before);
});

test("whatever fails keeps its output where it printed more than a line, and says where", async (t) => {
  for (const name of ["packages", "group", "register", "build", "load", "kvm-load"] as const) {
    const w = await world(t);
    const step = runStep({ name, title: `the ${name}`, argv: sh("echo first; echo last >&2; exit 1") });
    const error = await t.throwsAsync(forward({ ...w, steps: [step] }), { instanceOf: StepError });
    const { line, log } = await takeLog(error?.problem.evidence);
    t.is(line, `the ${name}: last`);
    t.regex(log, /^\$ sh .*\nfirst\nlast\n$/);
    t.not(error?.problem.fix, "");
  }
});

/** What the script that builds the module ends with, as a step. */
async function rebuild(t: ExecutionContext, temporary: string) {
  const w = await world(t);
  const kkm = join(w.prefix, "kkm");
  await cp(new URL("../../kkm", import.meta.url).pathname, kkm, { recursive: true });
  await writeFile(join(kkm, "rebuild.sh"), rebuildScript(w.prefix));
  const argv = ["env", `TMPDIR=${temporary}`, "sh", join(kkm, "rebuild.sh"), "0.0.0-none"];
  const step = runStep({ name: "build", title: "build", argv });
  const error = await t.throwsAsync(forward({ ...w, steps: [step] }), { instanceOf: StepError });
  const { id, evidence = "", fix } = error?.problem ?? {};
  return { id, fix, ...(await takeLog(evidence)) };
}

test("the script that builds the module: no headers, nowhere to build, and a full disk are told apart", async (t) => {
  const headers = await rebuild(t, tmpdir());
  t.is(headers.id, "build-headers");
  t.regex(headers.line, /no headers for kernel 0\.0\.0-none in .*; install linux-headers-0\.0\.0-none/);
  const nowhere = await rebuild(t, "/nowhere");
  t.is(nowhere.id, "build-workspace");
  t.regex(nowhere.line, /^build: mktemp: .*\/nowhere/);
  const disk = await smallDisk(t, "size=64k");
  if (!disk) return t.log("no file system can be mounted here: a full disk is not tried");
  const full = await rebuild(t, disk);
  t.is(full.id, "disk-full");
  t.regex(full.line, /^build: cp: .*No space left on device$/);
  t.regex(full.log, /^\$ env TMPDIR/);
  t.regex(full.fix ?? "", /^make room on the file system that the line/);
  t.deepEqual(await readdir(disk), [], "nothing is left there");
});

test("every exit status of the build and every way the kernel says no has its reason", async (t) => {
  const table: [Partial<RunStep>, string, number, string][] = [
    [{ name: "build" }, "", 10, "build-headers"],
    [{ name: "build" }, "", 12, "build-tools"],
    [{ name: "build" }, "", 13, "build-failed"],
    [{ name: "build" }, "", 30, "signing-failed"],
    [{ name: "build" }, "", 31, "module-install-failed"],
    [{ name: "build" }, "mktemp: failed to create directory", 32, "build-workspace"],
    [{ name: "build" }, "cp: error writing '/lib/modules/x': No space left on device", 31, "disk-full"],
    [
      { name: "packages" },
      "E: You don't have enough free space in /var/cache/apt/archives/.",
      100,
      "disk-full",
    ],
    [
      { name: "load" },
      "modprobe: ERROR: could not insert 'kkm': Key was rejected by service",
      1,
      "load-signature",
    ],
    [
      { name: "load" },
      "modprobe: ERROR: could not insert 'kkm': Operation not permitted",
      1,
      "load-not-permitted",
    ],
    [{ name: "load" }, "modprobe: ERROR: could not insert 'kkm': Exec format error", 1, "load-format"],
    [
      { name: "load" },
      "modprobe: ERROR: could not insert 'kkm': Unknown symbol in module",
      1,
      "load-unsupported",
    ],
    [{ name: "load" }, "rmmod: ERROR: Module kkm is in use", 1, "load-failed"],
    [{ name: "packages" }, "E: Unable to locate package linux-headers-9", 100, "packages-failed"],
    [{ name: "kvm-load" }, "Operation not supported", 1, "kvm-load-failed"],
    [{ name: "group" }, "", 1, "group-failed"],
  ];
  for (const [changes, words, status, id] of table) {
    const w = await world(t);
    const step = runStep({ ...changes, argv: sh('echo "$1" >&2; exit "$2"', words, String(status)) });
    const error = await t.throwsAsync(forward({ ...w, steps: [step] }), { instanceOf: StepError });
    t.is(error?.problem.id, id as never, words);
    await takeLog(error?.problem.evidence);
  }
});

test("a command that is not there, and one that does not end, are failures in one line", async (t) => {
  const w = await world(t);
  const missing = forward({ ...w, steps: [runStep({ argv: ["/no/such/program"] })] });
  t.regex(
    (await t.throwsAsync(missing, { instanceOf: StepError }))?.problem.evidence ?? "",
    /no\/such\/program/,
  );
  const endless = forward({ ...w, steps: [runStep({ argv: ["sleep", "600"], seconds: 1 })] });
  t.regex(
    (await t.throwsAsync(endless, { instanceOf: StepError }))?.problem.evidence ?? "",
    /within 1 second/,
  );
});

test("an optional command that fails is noted, leaves nothing, and the rest goes on", async (t) => {
  const w = await world(t);
  const path = join(w.root, "host/lib/kkm");
  const optional = runStep({
    title: "for the newest kernel",
    argv: sh('echo half >"$1"; exit 1', path),
    touches: [{ path, ours: true }],
    optional: true,
  });
  const notes = await forward({ ...w, steps: [optional, ...w.steps.slice(3)] });
  t.is(notes.length, 1);
  t.is(
    notes[0],
    "not done: for the newest kernel: it ended with status 1 and said nothing; way out: make it by hand: groupadd -r kkm (group-failed)",
  );
  await t.throwsAsync(stat(path));
  t.true((await stat(join(w.root, "host/loaded"))).isFile());
  await backward(w);
  t.deepEqual(await tree(w), w.before);
});

test("a signal ends a running command, and a rerun goes on", async (t) => {
  const w = await world(t);
  const controller = new AbortController();
  const slow = runStep({ argv: sh("echo started; sleep 600") });
  const onOutput = () => controller.abort();
  await t.throwsAsync(forward({ ...w, steps: [slow] }, { signal: controller.signal, onOutput }), {
    instanceOf: Interrupted,
  });
  await forward(w);
  await backward(w);
  t.deepEqual(await tree(w), w.before);
});

test("what stays behind is said when it is taken back", async (t) => {
  const w = await world(t);
  await forward({ ...w, steps: [runStep({ argv: ["true"], stays: "packages stay installed" })] });
  t.deepEqual(await backward(w), ["packages stay installed"]);
});

test("an undo command that fails is noted and stops nothing", async (t) => {
  const w = await world(t);
  await forward({
    ...w,
    steps: [...w.steps.slice(0, 1), runStep({ argv: ["true"], undo: sh("echo busy >&2; exit 1") })],
  });
  const notes = await backward(w);
  t.regex(notes?.[0] ?? "", /not taken back: busy/);
  t.deepEqual(await tree(w), w.before);
});
