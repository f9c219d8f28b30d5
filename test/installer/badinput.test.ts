// SPDX-License-Identifier: Apache-2.0
// What goes wrong on real machines: one clear line, and the machine as it was.
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { sha256 } from "../../src/base/files.js";
import { apply, removeState, undo } from "../../src/installer/apply/apply.js";
import { StepError } from "../../src/installer/apply/commands.js";
import { Journal } from "../../src/installer/apply/journal.js";
import { detectPrefix } from "../../src/installer/detect/prefix.js";
import type { BundleFile } from "../../src/installer/facts.js";
import { install, uninstall } from "../../src/installer/install.js";
import { plan } from "../../src/installer/plan/plan.js";
import { run } from "../../src/installer/plan/steps.js";
import type { InstallEvent } from "../../src/installer/ui/events.js";
import { host, picture, plant, RAN, skipped, smallDisk, temporaryFolder } from "./fixtures.js";

interface Attempt {
  outcome: string;
  /** The reason's id. */
  id: string;
  message: string;
}

/** Installs a package of one file of `size` bytes into `prefix`; `spoil` runs when all was looked at. */
async function attempt(
  t: ExecutionContext,
  prefix: string,
  size: number,
  spoil?: (source: string) => Promise<void>,
): Promise<Attempt> {
  const source = join(await temporaryFolder(t), "km");
  await writeFile(source, Buffer.alloc(size, 7));
  const files: BundleFile[] = [{ source, target: "bin/km", mode: 0o755, sha256: await sha256(source) }];
  const bundle = { version: "1.0.0", files, missing: [] };
  const events: InstallEvent[] = [];
  const outcome = await install({
    wishes: { prefix },
    report: (event) => events.push(event),
    consent: async () => {
      await spoil?.(source);
      return true;
    },
    doors: {
      detect: async () => {
        // The room is taken between looking and doing: what is free is not told.
        const { free: _, ...facts } = await detectPrefix(prefix, files);
        return host({ bundle, prefix: facts });
      },
      runHello: async () => RAN,
    },
  });
  const stop = events.find((event) => event.type === "problem" || event.type === "refusal");
  const result = events.at(-1);
  return {
    outcome,
    id: stop?.type === "problem" ? stop.problem.id : stop?.type === "refusal" ? stop.refusal.code : "",
    message: result?.type === "result" ? result.message : "",
  };
}

test("a disk that fills up on the way: said so, and nothing is left", async (t) => {
  const folder = await smallDisk(t, "size=512k");
  if (!folder) return skipped(t, "no file system can be mounted here");
  await plant(folder, { mine: "mine" });
  const before = await picture(folder);
  const { outcome, id, message } = await attempt(t, join(folder, "opt/kontain"), 2 << 20);
  t.is(outcome, "failed");
  t.is(id, "disk-full");
  t.regex(message, /not installed: .*bin\/km.*no space/i);
  t.deepEqual(await picture(folder), before);
});

test("a disk that is full before the journal is there", async (t) => {
  const folder = await smallDisk(t, "size=64k,nr_inodes=4");
  if (!folder) return skipped(t, "no file system can be mounted here");
  const { outcome, id } = await attempt(t, join(folder, "opt/kontain"), 100);
  t.is(outcome, "failed");
  t.is(id, "disk-full");
  t.deepEqual(await picture(folder), []);
});

test("a disk that fills up while what a command changes is kept", async (t) => {
  const folder = await smallDisk(t, "size=512k");
  if (!folder) return skipped(t, "no file system can be mounted here");
  const index = join(await temporaryFolder(t), "modules.dep");
  await writeFile(index, Buffer.alloc(2 << 20, 7));
  const step = run({
    name: "build",
    title: "build it",
    argv: ["false"],
    touches: [{ path: index, ours: false }],
  });
  const journal = (await Journal.open(join(folder, "kontain"), { create: true })) as Journal;
  // Also for a command that may fail: it was not run at all.
  for (const optional of [false, true]) {
    const error = await t.throwsAsync(apply(journal, [{ ...step, optional }]), { instanceOf: StepError });
    t.is(error?.problem.id, "disk-full");
    t.regex(error?.problem.evidence ?? "", /^build it: .*no space left/i);
  }
  t.deepEqual(await undo(journal, 0), []);
  await removeState(journal);
  t.deepEqual(await picture(folder), []);
  t.is((await stat(index)).size, 2 << 20);
});

test("a prefix on a file system that is read only, for root as well", async (t) => {
  const folder = await smallDisk(t, "ro");
  if (!folder) return skipped(t, "no file system can be mounted here");
  const prefix = join(folder, "kontain");
  const facts = await detectPrefix(prefix, []);
  const targets = host().prefix.targets;
  const user = { uid: 0, name: "root", groups: [] };
  const decided = plan(host({ user, prefix: { ...facts, targets } }), { prefix });
  t.like(decided, { kind: "refusal", code: "prefix-denied" });
  if (decided.kind === "refusal") t.regex(decided.reason, new RegExp(`no permission to write in ${folder}$`));
  // And where that is seen only on the way.
  const { outcome, id, message } = await attempt(t, prefix, 100);
  t.is(outcome, "refused");
  t.is(id, "prefix-denied");
  t.regex(message, /no permission to write/);
});

test("a prefix that belongs to others, for an ordinary user", async (t) => {
  const folder = await temporaryFolder(t);
  const asNobody = async (command: string[]) =>
    execa("setpriv", ["--reuid=65534", "--clear-groups", ...command], {
      reject: false,
      stdin: "ignore",
      timeout: 120_000,
    });
  if ((await asNobody(["true"])).exitCode !== 0) return skipped(t, "no other user can be taken here");
  const script = new URL("killed-install.ts", import.meta.url).pathname;
  await plant(folder, { "bin-km": "km", "tests-hello": "h", "examples-deep-er": "e" });
  await execa("chmod", ["-R", "a+rX", folder]);
  const before = await picture(folder);
  const child = await asNobody([
    process.execPath,
    "--import=tsx",
    script,
    folder,
    join(folder, "kontain"),
    "wait",
  ]);
  if (/EACCES|MODULE_NOT_FOUND/.test(child.stderr)) return skipped(t, "others cannot read this tree");
  t.is(child.stdout, "ready\nbegin\nrefused\nend", child.stderr);
  t.deepEqual(await picture(folder), before);
});

test("a file of the package that changed since it was looked at is not installed", async (t) => {
  const folder = await temporaryFolder(t);
  const { outcome, id, message } = await attempt(t, join(folder, "kontain"), 100, (source) =>
    writeFile(source, "other"),
  );
  t.is(outcome, "failed");
  t.is(id, "package-damaged");
  t.regex(message, /km: its content is not what it should be/);
  t.deepEqual(await picture(folder), []);
});

test("a prefix that turns out not to be writable, for root as well", async (t) => {
  // Nothing can be made in /proc, whoever asks.
  const { outcome, id, message } = await attempt(t, "/proc/kontain", 100);
  t.is(outcome, "failed");
  t.is(id, "prefix-denied");
  t.regex(message, /\/proc\/kontain/);
});

test("a prefix with somebody's files in the places of ours: one line, nothing changed", async (t) => {
  const folder = await temporaryFolder(t);
  await plant(folder, { "kontain/bin/km": "somebody's", "kontain/README": "theirs" });
  const before = await picture(folder);
  const { outcome, id, message } = await attempt(t, join(folder, "kontain"), 100);
  t.is(outcome, "refused");
  t.is(id, "prefix-foreign");
  t.is(
    message,
    `cannot install: ${folder}/kontain/bin/km is somebody else's: not of an installation by this tool`,
  );
  t.deepEqual(await picture(folder), before);
});

test("a prefix with somebody's files in other places: ours go beside them, and away again", async (t) => {
  const folder = await temporaryFolder(t);
  await plant(folder, { "kontain/bin/theirs": "theirs", "kontain/README": "theirs" });
  const before = await picture(folder);
  const prefix = join(folder, "kontain");
  t.true((await detectPrefix(prefix, [])).foreign);
  t.is((await attempt(t, prefix, 100)).outcome, "installed");
  t.is(await readFile(join(prefix, "README"), "utf8"), "theirs");
  t.is(await uninstall({ prefix, report: () => {}, consent: async () => true }), "uninstalled");
  t.deepEqual(await picture(folder), before);
});

test("a second installer at the same time is told who is at work, and changes nothing", async (t) => {
  const prefix = join(await temporaryFolder(t), "kontain");
  await mkdir(prefix);
  const first = (await Journal.open(prefix, { create: true })) as Journal;
  const before = await picture(prefix);
  const { outcome, id, message } = await attempt(t, prefix, 100);
  t.is(outcome, "failed");
  t.is(id, "installer-busy");
  t.regex(message, new RegExp(`process ${process.pid}\\) is at work in ${prefix}$`));
  t.deepEqual(await picture(prefix), before);
  await first.close();
});
