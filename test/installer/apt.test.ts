// SPDX-License-Identifier: Apache-2.0
// The step that fetches packages, with a real apt and dpkg: a repository of one small package in a folder, installed into
// a root of its own, so that the machine's packages stay as they are.
import { mkdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { which } from "../../scripts/packages.mjs";
import { sha256 } from "../../src/base/files.js";
import { apply, undo } from "../../src/installer/apply/apply.js";
import { StepError } from "../../src/installer/apply/commands.js";
import { Journal } from "../../src/installer/apply/journal.js";
import { plan } from "../../src/installer/plan/plan.js";
import type { RunStep } from "../../src/installer/plan/steps.js";
import { host, kernelFacts, PREFIX, skipped, takeLog, temporaryFolder } from "./fixtures.js";

const PACKAGE = "linux-headers-9.9.9-test";

/** What plan makes of a Debian machine whose kernel's headers are missing. */
function packagesStep(): RunStep {
  const facts = host({
    user: { uid: 0, name: "root", groups: [] },
    kernel: kernelFacts("9.9.9-test"),
    cpu: { ...host().cpu, virtualization: "none" },
    devices: [{ path: "/dev/kvm", state: "absent", evidence: "" }],
    build: host().build.map((build) => ({ ...build, release: "9.9.9-test", headers: null })),
  });
  const decided = plan(facts, { prefix: PREFIX });
  if (decided.kind === "refusal") throw new Error(decided.reason);
  const step = decided.steps.find((one) => one.kind === "run" && one.name === "packages");
  if (step?.kind !== "run") throw new Error("no step for packages");
  return step;
}

/** A .deb with one file, and an index that vouches for it. */
async function makeRepository(folder: string): Promise<string> {
  const tree = join(folder, "tree");
  const control = [
    `Package: ${PACKAGE}`,
    "Version: 9.9.9-1",
    "Architecture: all",
    "Maintainer: Nobody <nobody@example.org>",
    "Description: made for a test",
  ];
  await mkdir(join(tree, "DEBIAN"), { recursive: true });
  await writeFile(join(tree, "DEBIAN/control"), `${control.join("\n")}\n`);
  await mkdir(join(tree, "usr/src"), { recursive: true });
  await writeFile(join(tree, "usr/src/header.h"), "x".repeat(5000));
  const deb = join(folder, "repository/headers.deb");
  await mkdir(join(deb, ".."));
  await execa("dpkg-deb", ["--root-owner-group", "-Znone", "--build", tree, deb]);
  const size = (await readFile(deb)).length;
  const index = [...control, "Filename: ./headers.deb", `Size: ${size}`, `SHA256: ${await sha256(deb)}`];
  await writeFile(join(deb, "../Packages"), `${index.join("\n")}\n`);
  return deb;
}

/** Lets apt and dpkg, started by whomever in this process, work on a root of their own that knows one repository. */
async function privateApt(t: ExecutionContext, folder: string): Promise<string> {
  const root = join(folder, "root");
  for (const name of ["etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/trusted.gpg.d", "var/log"]) {
    await mkdir(join(root, name), { recursive: true });
  }
  for (const name of [
    "var/lib/apt/lists/partial",
    "var/cache/apt/archives/partial",
    "var/lib/dpkg/updates",
  ]) {
    await mkdir(join(root, name), { recursive: true });
  }
  await mkdir(join(root, "var/lib/dpkg/info"));
  await writeFile(join(root, "var/lib/dpkg/status"), "");
  // copy: fetches, as http: does; file: would take the package where it lies.
  await writeFile(
    join(root, "etc/apt/sources.list"),
    `deb [trusted=yes] copy:${join(folder, "repository")} ./\n`,
  );
  const config = join(folder, "apt.conf");
  const lines = [
    `Dir "${root}";`,
    `Dir::State::status "${root}/var/lib/dpkg/status";`,
    'APT::Sandbox::User "";',
    'Acquire::Languages "none";',
    `DPkg::Options { "--root=${root}"; "--force-not-root"; "--log=${root}/var/log/dpkg.log"; };`,
  ];
  await writeFile(config, `${lines.join("\n")}\n`);
  process.env.APT_CONFIG = config;
  t.teardown(() => {
    delete process.env.APT_CONFIG;
  });
  return root;
}

interface World {
  root: string;
  deb: string;
  journal: Journal;
}

async function world(t: ExecutionContext): Promise<World | undefined> {
  if (process.getuid?.() !== 0 || !which("apt-get") || !which("dpkg-deb")) return undefined;
  const folder = await temporaryFolder(t);
  const deb = await makeRepository(folder);
  const root = await privateApt(t, folder);
  const journal = (await Journal.open(join(folder, "kontain"), { create: true })) as Journal;
  t.teardown(() => journal.close());
  return { root, deb, journal };
}

const status = ({ root }: World) => readFile(join(root, "var/lib/dpkg/status"), "utf8");

/** The one line that is said of an installation that fails. */
async function failure(t: ExecutionContext, { journal }: World): Promise<string> {
  const error = await t.throwsAsync(apply(journal, [packagesStep()]), { instanceOf: StepError });
  t.is(error?.problem.id, "packages-failed");
  t.false(error?.problem.evidence.includes("\n"));
  return (await takeLog(error?.problem.evidence)).line;
}

test.serial(
  "headers come from apt, whose lists are fetched where there are none; they stay, and it is said",
  async (t) => {
    const w = await world(t);
    if (!w) return skipped(t, "no apt here, or not root");
    const printed: string[] = [];
    await apply(w.journal, [packagesStep()], { onOutput: (_, line) => printed.push(line) });
    t.true(
      printed.some((line) => line.includes(`Unable to locate package ${PACKAGE}`)),
      "there were no lists",
    );
    t.regex(await status(w), new RegExp(`^Package: ${PACKAGE}\nStatus: install ok installed$`, "m"));
    t.is((await readFile(join(w.root, "usr/src/header.h"), "utf8")).length, 5000);
    t.deepEqual(await undo(w.journal, 0), [
      `packages stay installed; to remove them: apt-get purge ${PACKAGE}`,
    ]);
    t.regex(await status(w), /install ok installed/);
  },
);

test.serial("a package that apt does not know is named", async (t) => {
  const w = await world(t);
  if (!w) return skipped(t, "no apt here, or not root");
  await writeFile(join(w.deb, "../Packages"), "");
  t.regex(await failure(t, w), new RegExp(`E: Unable to locate package ${PACKAGE}$`));
  t.is(await status(w), "");
});

test.serial("a download that breaks off, or has another checksum, is not installed", async (t) => {
  for (const spoil of ["cut", "changed"] as const) {
    const w = await world(t);
    if (!w) return skipped(t, "no apt here, or not root");
    if (spoil === "cut") await truncate(w.deb, 3000);
    else await writeFile(w.deb, (await readFile(w.deb)).fill(7, 2000, 3000));
    t.regex(await failure(t, w), /E: Failed to fetch .*headers\.deb/, spoil);
    t.is(await status(w), "", spoil);
  }
});
