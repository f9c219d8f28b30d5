// SPDX-License-Identifier: Apache-2.0
// What a hostile host, neighbour or journal could try on an installer that runs as root.
import {
  appendFile,
  chmod,
  chown,
  lstat,
  mkdir,
  readFile,
  rename,
  symlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { check as monitorInstalled } from "../../src/doctor/checks/monitor-installed.js";
import { realContext } from "../../src/doctor/context.js";
import { apply } from "../../src/installer/apply/apply.js";
import { Journal, JournalError, readJournal } from "../../src/installer/apply/journal.js";
import { installedKernels } from "../../src/installer/detect/kernel.js";
import { detectPrefix } from "../../src/installer/detect/prefix.js";
import { uninstall } from "../../src/installer/install.js";
import { plan } from "../../src/installer/plan/plan.js";
import { describeFacts } from "../../src/installer/ui/describe.js";
import type { InstallEvent } from "../../src/installer/ui/events.js";
import { upgrade } from "../../src/installer/upgrade.js";
import { COMMON, hostOf } from "../fixtures/described-host.js";
import { host, PREFIX, skipped, temporaryFolder } from "./fixtures.js";

const isRoot = process.geteuid?.() === 0;
const NOBODY = 65534;

/** A prefix with one text file installed; gives the journal's path. */
async function installed(t: ExecutionContext): Promise<{ prefix: string; journal: string }> {
  const prefix = join(await temporaryFolder(t), "kontain");
  const journal = (await Journal.open(prefix, { create: true })) as Journal;
  const path = join(prefix, "file");
  await apply(journal, [{ kind: "text", path, content: "password hunter2", mode: 0o600, why: "a test" }]);
  await journal.close();
  return { prefix, journal: join(prefix, ".install/journal") };
}

async function refusesJournal(t: ExecutionContext, prefix: string, words: RegExp): Promise<void> {
  await t.throwsAsync(readJournal(prefix), { instanceOf: JournalError, message: words });
  await t.throwsAsync(Journal.open(prefix, { create: false }), { instanceOf: JournalError, message: words });
}

test("a journal that somebody else wrote is not obeyed: its commands would run as the reader", async (t) => {
  if (!isRoot) return skipped(t, "only root can give files away");
  const { prefix, journal } = await installed(t);
  await chown(journal, NOBODY, NOBODY);
  await refusesJournal(t, prefix, /belongs to user 65534: run this as that user/);
  await chown(journal, 0, 0);
  await chown(join(prefix, ".install"), NOBODY, NOBODY);
  await refusesJournal(t, prefix, /belongs to user 65534/);
});

test("a journal that others can change, or that is a link, is not obeyed", async (t) => {
  const { prefix, journal } = await installed(t);
  await chmod(journal, 0o666);
  await refusesJournal(t, prefix, /can be changed by others \(mode 666\)/);
  await chmod(journal, 0o644);
  await rename(journal, join(prefix, "elsewhere"));
  await symlink(join(prefix, "elsewhere"), journal);
  await refusesJournal(t, prefix, /is a link/);
});

/** What is planned for a prefix as it is on this machine, by root. */
async function planFor(prefix: string) {
  const facts = await detectPrefix(prefix, []);
  const user = { uid: 0, name: "root", groups: [] };
  const there = { ...host().prefix, ...facts, targets: host().prefix.targets };
  return plan(host({ user, prefix: there }), { prefix });
}

test("root does not install where another user could exchange what it runs", async (t) => {
  if (!isRoot) return skipped(t, "not root");
  const prefix = join(await temporaryFolder(t), "kontain");
  await mkdir(prefix);
  await chown(prefix, NOBODY, NOBODY);
  // The second one is still to be made: in a folder of that user, who could move it away.
  for (const place of [prefix, join(prefix, "deep/er")]) {
    const decided = await planFor(place);
    t.like(decided, { kind: "refusal", code: "prefix-denied" }, place);
    if (decided.kind === "refusal") {
      t.regex(decided.reason, /belongs to user 65534, who could exchange/);
      t.notRegex(decided.remedy, /sudo/, "it is root already");
    }
  }
});

test("a journal that is not obeyed: install, upgrade, uninstall and the doctor say so, each in a line", async (t) => {
  const { prefix, journal } = await installed(t);
  await chmod(journal, 0o666);
  const words = /journal can be changed by others/;
  const decided = await planFor(prefix);
  t.like(decided, { kind: "refusal", code: "journal-refused" });
  if (decided.kind === "refusal") t.regex(decided.reason, words);
  const events: InstallEvent[] = [];
  const door = { report: (event: InstallEvent) => events.push(event), consent: async () => true };
  t.is(await uninstall({ prefix, ...door }), "failed");
  t.is(await upgrade({ file: "/none", wishes: { prefix }, ...door }), "failed");
  for (const what of ["uninstalled", "upgraded"]) {
    const said = events.find((event) => event.type === "result" && event.message.startsWith(`not ${what}: `));
    if (said?.type !== "result") return t.fail(what);
    t.regex(said.message, words);
    t.regex(said.next.join("\n"), /reason: journal-refused; nothing was changed/);
  }
  const context = await realContext(prefix, true);
  const { verdict, evidence } = await monitorInstalled.run(context);
  t.is(verdict, "fail");
  t.regex(evidence, words);
});

test("lines that are no records of a journal are damage, not orders", async (t) => {
  const step = { kind: "text", path: "/x", content: "", mode: 0o644, why: "" };
  const lines = [
    "null",
    "[]",
    '{"type":"else"}',
    '{"type":"intent","seq":"1"}',
    JSON.stringify({ type: "intent", seq: 9, step: { ...step, path: "relative" }, was: { type: "absent" } }),
    JSON.stringify({ type: "intent", seq: 9, step, was: { type: "file", backup: "../../../../etc/shadow" } }),
    ...[
      null,
      [],
      {},
      { text: "" },
      { json: [], value: {} },
      { json: ["a", 1], value: {} },
      { json: ["a"] },
    ].map((part) =>
      JSON.stringify({ type: "intent", seq: 9, step: { ...step, part }, was: { type: "absent" } }),
    ),
    JSON.stringify({
      type: "intent",
      seq: 9,
      step: { kind: "run", argv: ["true"], touches: [] },
      was: { type: "several", paths: { "/etc/group": { type: "file", backup: "1/../../x" } } },
    }),
    JSON.stringify({
      type: "intent",
      seq: 9,
      step: { kind: "run", argv: "rm -rf /" },
      was: { type: "absent" },
    }),
  ];
  for (const line of lines) {
    const { prefix, journal } = await installed(t);
    await appendFile(journal, `${line}\n`);
    await t.throwsAsync(readJournal(prefix), { instanceOf: JournalError, message: /is damaged/ }, line);
  }
});

test("the journal, which everybody can read, has no contents of files", async (t) => {
  const { journal } = await installed(t);
  t.false((await readFile(journal, "utf8")).includes("hunter2"));
  t.is((await lstat(journal)).mode & 0o022, 0);
});

test("a link planted where a file is going to be written is replaced, not followed", async (t) => {
  const folder = await temporaryFolder(t);
  const victim = join(folder, "victim");
  await writeFile(victim, "precious");
  const prefix = join(folder, "kontain");
  await mkdir(prefix);
  await symlink(victim, join(prefix, "file"));
  await symlink(victim, join(prefix, ".file.kontain-tmp"));
  const journal = (await Journal.open(prefix, { create: true })) as Journal;
  await apply(journal, [{ kind: "text", path: join(prefix, "file"), content: "new", mode: 0o644, why: "" }]);
  await journal.close();
  t.is(await readFile(victim, "utf8"), "precious");
  t.true((await lstat(join(prefix, "file"))).isFile());
});

test("names of kernels that no kernel has are passed over", async (t) => {
  const names = [
    "6.1.0-37-amd64",
    "6.1;reboot",
    "6.1 $(reboot)",
    "6.1`reboot`",
    "6.1'x'",
    "--help",
    "6.1\u001b[31m",
  ];
  const files = Object.fromEntries(names.map((name) => [`/boot/vmlinuz-${name}`, ""]));
  const description = { about: "", release: "6.1.0-37-amd64", files: { ...COMMON, ...files }, facts: {} };
  const found = await installedKernels(hostOf({ ...description, plan: { device: "", runs: [] } }));
  t.deepEqual(found, ["6.1.0-37-amd64"]);
});

test("package names are arguments of the package manager's line, never part of it", (t) => {
  const release = "6.1-$(touch /tmp/owned)";
  for (const packages of ["apt", "dnf", "yum", "zypper", "pacman"] as const) {
    const facts = host({
      packages,
      user: { uid: 0, name: "root", groups: [] },
      cpu: { ...host().cpu, virtualization: "none" },
      devices: [{ path: "/dev/kvm", state: "absent", evidence: "" }],
      build: host().build.map((build) => ({ ...build, release, headers: null, found: null })),
    });
    const decided = plan(facts, { prefix: PREFIX });
    if (decided.kind !== "plan") return t.fail(decided.reason);
    const step = decided.steps.find((one) => one.kind === "run" && one.name === "packages");
    const argv = step?.kind === "run" ? step.argv : [];
    t.deepEqual(argv.slice(0, 2), ["sh", "-c"]);
    t.false(argv[2]?.includes("owned"), packages);
    t.regex(argv[2] ?? "", /"\$@"/);
  }
});

test("what the machine says of itself cannot command the terminal", (t) => {
  const facts = host({
    distro: { id: "x", like: [], version: "", name: "Evil\u001b]0;owned\u0007\u001b[2J Linux" },
  });
  const text = describeFacts(facts)
    .map((row) => row.text)
    .join("\n");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  t.notRegex(text, /[\u0000-\u0009\u000b-\u001f\u007f]/);
  t.regex(text, /Evil/);
});
