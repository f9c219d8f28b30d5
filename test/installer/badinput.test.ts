// SPDX-License-Identifier: Apache-2.0
// What goes wrong on real machines: one clear line, and the machine as it was.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { sha256 } from "../../src/base/files.js";
import { Journal } from "../../src/installer/apply/journal.js";
import { detectPrefix } from "../../src/installer/detect/prefix.js";
import type { BundleFile } from "../../src/installer/facts.js";
import { install } from "../../src/installer/install.js";
import type { InstallEvent } from "../../src/installer/ui/events.js";
import { host, picture, plant, skipped, temporaryFolder } from "./fixtures.js";

const RAN = { works: true, command: "", stdout: "", problem: "" };

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
  const problem = events.find((event) => event.type === "problem");
  const result = events.at(-1);
  return {
    outcome,
    id: problem?.type === "problem" ? problem.problem.id : "",
    message: result?.type === "result" ? result.message : "",
  };
}

test("a disk that fills up on the way: said so, and nothing is left", async (t) => {
  const folder = await temporaryFolder(t);
  const mounted = await execa("mount", ["-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], {
    reject: false,
  });
  if (mounted.exitCode !== 0) return skipped(t, "no file system can be mounted here");
  try {
    await plant(folder, { mine: "mine" });
    const before = await picture(folder);
    const { outcome, id, message } = await attempt(t, join(folder, "opt/kontain"), 2 << 20);
    t.is(outcome, "failed");
    t.is(id, "disk-full");
    t.regex(message, /not installed: .*bin\/km.*no space/i);
    t.deepEqual(await picture(folder), before);
  } finally {
    await execa("umount", [folder]);
  }
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

test("somebody's files in the prefix stay, and come back where they were replaced", async (t) => {
  const folder = await temporaryFolder(t);
  await plant(folder, { "kontain/bin/km": "somebody's", "kontain/README": "theirs" });
  const prefix = join(folder, "kontain");
  const facts = await detectPrefix(prefix, []);
  t.true(facts.foreign);
  t.is((await attempt(t, prefix, 100)).outcome, "installed");
  t.is(await readFile(join(prefix, "README"), "utf8"), "theirs");
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
