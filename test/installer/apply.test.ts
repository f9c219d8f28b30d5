// SPDX-License-Identifier: Apache-2.0
// Forwards and backwards through the journal, with a crash played at every moment between two durable changes.
import { appendFile, chmod, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { sha256 } from "../../src/base/files.js";
import { apply, Interrupted, removeState, undo } from "../../src/installer/apply/apply.js";
import { type Checkpoint, Journal, JournalError, readJournal } from "../../src/installer/apply/journal.js";
import type { Step } from "../../src/installer/plan/plan.js";
import { Crash, crashAt, picture, plant, temporaryFolder, type World } from "./fixtures.js";

async function fileStep(path: string, source: string, content: string): Promise<Step> {
  await writeFile(source, content);
  return { kind: "file", path, source, mode: 0o755, sha256: await sha256(source) };
}

/** A prefix with somebody's files in it (or none at all), and steps that make, replace and remove. */
async function world(
  t: ExecutionContext,
  existing: Record<string, string> | undefined,
  below = "host/deep/prefix",
): Promise<World> {
  const root = await temporaryFolder(t);
  const prefix = join(root, below);
  await mkdir(join(root, "host"), { recursive: true });
  if (existing) {
    await mkdir(prefix, { recursive: true });
    await plant(prefix, existing);
  }
  const steps: Step[] = [
    { kind: "remove", path: join(prefix, "old") },
    { kind: "folder", path: join(prefix, "bin"), mode: 0o755 },
    { kind: "folder", path: join(prefix, "bin/deep"), mode: 0o755 },
    await fileStep(join(prefix, "bin/km"), join(root, "source-km"), "new km"),
    await fileStep(join(prefix, "bin/deep/file"), join(root, "source-file"), "new file"),
  ];
  return { root, prefix, steps, before: await picture(join(root, "host")) };
}

async function forward({ prefix, steps }: World, checkpoint?: Checkpoint): Promise<void> {
  const journal = await Journal.open(prefix, { create: true });
  try {
    await apply(journal as Journal, steps, checkpoint ? { checkpoint } : {});
  } finally {
    await journal?.close();
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

const FOREIGN = { "bin/km": "somebody's km", old: "somebody's old file", "bin/link": "->km", mine: "mine" };
const PREFIXES: [string, Record<string, string> | undefined][] = [
  ["that does not exist", undefined],
  ["that is empty", {}],
  ["with somebody's files", FOREIGN],
];

for (const [name, existing] of PREFIXES) {
  test(`a prefix ${name} is as it was after forward and backward`, async (t) => {
    const w = await world(t, existing);
    await forward(w);
    t.is(await readFile(join(w.prefix, "bin/km"), "utf8"), "new km");
    t.is((await stat(join(w.prefix, "bin/km"))).mode & 0o7777, 0o755);
    t.is(await readFile(join(w.prefix, "bin/deep/file"), "utf8"), "new file");
    await t.throwsAsync(stat(join(w.prefix, "old")));
    t.deepEqual(await backward(w), []);
    t.deepEqual(await picture(join(w.root, "host")), w.before);
  });

  test(`a prefix ${name}: a crash at any moment forward can be taken back or gone on from`, async (t) => {
    for (let n = 1; ; n++) {
      const back = await world(t, existing);
      const crash = await forward(back, crashAt(n)).catch((error) => error);
      await backward(back);
      t.deepEqual(await picture(join(back.root, "host")), back.before, `taken back after a crash at ${n}`);

      const on = await world(t, existing);
      await forward(on, crashAt(n)).catch((error) => t.true(error instanceof Crash, String(error)));
      await forward(on);
      t.is(await readFile(join(on.prefix, "bin/km"), "utf8"), "new km");
      t.is(await readFile(join(on.prefix, "bin/deep/file"), "utf8"), "new file");
      await backward(on);
      t.deepEqual(await picture(join(on.root, "host")), on.before, `gone on after a crash at ${n}`);
      if (crash === undefined) {
        t.true(n > 10, "the crashes covered every step");
        return;
      }
      t.true(crash instanceof Crash, String(crash));
    }
  });

  test(`a prefix ${name}: a crash at any moment backward is gone on from`, async (t) => {
    for (let n = 1; ; n++) {
      const w = await world(t, existing);
      await forward(w);
      const crash = await backward(w, crashAt(n)).catch((error) => error);
      // After the last rename nothing is installed any more; opening sweeps up what the crash left.
      await backward(w);
      t.deepEqual(await picture(join(w.root, "host")), w.before, `crash at ${n}`);
      if (!(crash instanceof Crash)) {
        t.true(n > 5, "the crashes covered every step");
        return;
      }
    }
  });
}

test("forward twice does nothing the second time", async (t) => {
  const w = await world(t, FOREIGN);
  await forward(w);
  const records = (await readJournal(w.prefix))?.length;
  await forward(w);
  t.is((await readJournal(w.prefix))?.length, records);
});

test("an upgrade goes back through the version before it", async (t) => {
  const w = await world(t, FOREIGN);
  await forward(w);
  const second = [await fileStep(join(w.prefix, "bin/km"), join(w.root, "source-2"), "km 2")];
  await forward({ ...w, steps: second });
  t.is(await readFile(join(w.prefix, "bin/km"), "utf8"), "km 2");
  const journal = (await Journal.open(w.prefix, { create: false })) as Journal;
  const first = journal.records.findLastIndex((record) => record.type === "intent");
  await undo(journal, first);
  t.is(await readFile(join(w.prefix, "bin/km"), "utf8"), "new km");
  await journal.close();
  await backward(w);
  t.deepEqual(await picture(join(w.root, "host")), w.before);
});

test("a file changed after the installation is kept aside, and what was there comes back", async (t) => {
  const w = await world(t, FOREIGN);
  await forward(w);
  const km = join(w.prefix, "bin/km");
  await writeFile(km, "edited");
  const notes = await backward(w);
  t.is(notes?.length, 1);
  t.regex(notes?.[0] ?? "", /changed-since-install/);
  t.is(await readFile(`${km}.changed-since-install`, "utf8"), "edited");
  // The next time does not write over what was kept the first time.
  await forward(w);
  await writeFile(km, "edited again");
  t.true((await backward(w))?.some((note) => note.endsWith(`${km}.changed-since-install.2`)));
  t.is(await readFile(`${km}.changed-since-install`, "utf8"), "edited");
  t.is(await readFile(`${km}.changed-since-install.2`, "utf8"), "edited again");
  for (const suffix of ["", ".2"]) await rm(`${km}.changed-since-install${suffix}`);
  t.deepEqual(await picture(join(w.root, "host")), w.before);
});

test("files that somebody put into our folders stay, and their folders", async (t) => {
  const w = await world(t, undefined);
  await forward(w);
  await writeFile(join(w.prefix, "bin/guest"), "not ours");
  const notes = await backward(w);
  t.true(notes?.some((note) => note.includes(join(w.prefix, "bin"))));
  t.is(await readFile(join(w.prefix, "bin/guest"), "utf8"), "not ours");
  t.is(await readJournal(w.prefix), undefined);
});

test("a signal stops between two steps, and a rerun goes on", async (t) => {
  const w = await world(t, FOREIGN);
  const controller = new AbortController();
  const journal = (await Journal.open(w.prefix, { create: true })) as Journal;
  const onStep = () => controller.abort();
  await t.throwsAsync(apply(journal, w.steps, { signal: controller.signal, onStep }), {
    instanceOf: Interrupted,
  });
  await journal.close();
  t.is(await readFile(join(w.prefix, "bin/km"), "utf8"), "somebody's km");
  await forward(w);
  t.is(await readFile(join(w.prefix, "bin/km"), "utf8"), "new km");
});

test("a record torn off by a crash is dropped; a damaged one is refused", async (t) => {
  const w = await world(t, FOREIGN);
  await forward(w);
  const file = join(w.prefix, ".install/journal");
  await appendFile(file, '{"type":"inte');
  await forward(w);
  await backward(w);
  t.deepEqual(await picture(join(w.root, "host")), w.before);

  await forward(w);
  await appendFile(file, "garbage\n");
  await t.throwsAsync(readJournal(w.prefix), { instanceOf: JournalError, message: /line \d+ is damaged/ });
});

test("two installers at once: the second is told who is at work; a dead one's lock is taken over", async (t) => {
  const w = await world(t, {});
  const first = (await Journal.open(w.prefix, { create: true })) as Journal;
  await t.throwsAsync(Journal.open(w.prefix, { create: true }), {
    message: new RegExp(`process ${process.pid}`),
  });
  await first.close();
  await writeFile(join(w.prefix, ".install/lock.999999999.1"), "");
  const second = (await Journal.open(w.prefix, { create: true })) as Journal;
  await second.close();
  const left = await readdir(join(w.prefix, ".install"));
  t.deepEqual(left.sort(), ["backup", "journal"]);
});

test("a state folder without a journal is not taken for an installation", async (t) => {
  const w = await world(t, { ".install/mine": "mine" });
  const error = await t.throwsAsync(Journal.open(w.prefix, { create: true }), { instanceOf: JournalError });
  t.is(error?.problem.id, "journal-refused");
  t.regex(error?.message ?? "", /no journal is in it/);
  t.deepEqual(await picture(join(w.root, "host")), w.before);
});

test("what others left beside the prefix stays; what dead installers left goes", async (t) => {
  const w = await world(t, {});
  const beside = join(w.prefix, "..");
  const name = ".prefix.kontain-tmp";
  for (const suffix of ["", ".999999999", ".1", ".old"])
    await mkdir(join(beside, name + suffix, "sub"), { recursive: true });
  await forward(w);
  const left = (await readdir(beside)).filter((entry) => entry.startsWith(name));
  t.deepEqual(left.sort(), [`${name}.1`, `${name}.old`], "process 1 lives, and .old is nobody's");
});

test("a step that cannot be done says which file, and can be taken back", async (t) => {
  if (process.getuid?.() === 0) {
    // Root is not stopped by permissions; a folder in the way stops everyone.
    const w = await world(t, undefined);
    await forward({ ...w, steps: w.steps.slice(0, 2) });
    await mkdir(join(w.prefix, "bin/km"));
    const error = await t.throwsAsync(forward(w));
    t.regex(error?.message ?? "", /bin\/km/);
    await rm(join(w.prefix, "bin/km"), { recursive: true });
    await backward(w);
    t.deepEqual(await picture(join(w.root, "host")), w.before);
    return;
  }
  const w = await world(t, {});
  await mkdir(join(w.prefix, "bin"));
  await chmod(join(w.prefix, "bin"), 0o500);
  await t.throwsAsync(forward(w), { message: /bin/ });
});
