// SPDX-License-Identifier: Apache-2.0
// The four parts together, on a package and a monitor made for the test.
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { sha256 } from "../../src/base/files.js";
import { readJournal } from "../../src/installer/apply/journal.js";
import { detectPrefix } from "../../src/installer/detect/prefix.js";
import type { BundleFile } from "../../src/installer/facts.js";
import { install, uninstall } from "../../src/installer/install.js";
import type { InstallEvent } from "../../src/installer/ui/events.js";
import { plainReporter } from "../../src/installer/ui/plain.js";
import type { HelloRun } from "../../src/installer/verify/hello.js";
import { host, picture, plant, RAN, temporaryFolder } from "./fixtures.js";

const DID_NOT: HelloRun = { works: false, command: "km hello", stdout: "", problem: "exit status 7" };

class Package {
  readonly events: InstallEvent[] = [];
  private constructor(
    readonly root: string,
    readonly prefix: string,
  ) {}

  static async make(t: ExecutionContext, existing: Record<string, string> = {}): Promise<Package> {
    const root = await temporaryFolder(t);
    await mkdir(join(root, "host"));
    await plant(join(root, "host"), existing);
    return new Package(root, join(root, "host/kontain"));
  }

  private async files(version: string): Promise<BundleFile[]> {
    const names = version === "1.0.0" ? ["bin/km", "bin/old"] : ["bin/km"];
    return Promise.all(
      names.map(async (target) => {
        const source = join(this.root, `${version}-${target.replace("/", "-")}`);
        await writeFile(source, `${target} of ${version}`);
        return { source, target, mode: 0o755, sha256: await sha256(source) };
      }),
    );
  }

  async install(version: string, run: HelloRun, agree = true) {
    const bundle = { version, files: await this.files(version), missing: [] };
    return install({
      wishes: { prefix: this.prefix },
      report: (event) => this.events.push(event),
      consent: async () => agree,
      doors: {
        detect: async () => host({ bundle, prefix: await detectPrefix(this.prefix, bundle.files) }),
        runHello: async () => run,
      },
    });
  }

  uninstall() {
    const report = (event: InstallEvent) => this.events.push(event);
    return uninstall({ prefix: this.prefix, report, consent: async () => true });
  }

  km() {
    return readFile(join(this.prefix, "bin/km"), "utf8");
  }

  picture() {
    return picture(join(this.root, "host"));
  }
}

test("installs, says what the payload printed, notes that it ran, and goes without a trace", async (t) => {
  const it = await Package.make(t);
  const before = await it.picture();
  t.is(await it.install("1.0.0", RAN), "installed");
  t.is(await it.km(), "bin/km of 1.0.0");
  t.deepEqual(
    it.events.filter((event) => event.type === "verify"),
    [{ type: "verify", run: RAN }],
  );
  const records = await readJournal(it.prefix);
  t.like(records?.at(-1), { type: "verified", version: "1.0.0", device: "/dev/kvm" });
  t.is(await it.uninstall(), "uninstalled");
  t.deepEqual(await it.picture(), before);
});

test("what did not run is not installed: everything is taken back", async (t) => {
  const it = await Package.make(t, { "kontain/bin/theirs": "somebody's" });
  const before = await it.picture();
  t.is(await it.install("1.0.0", DID_NOT), "failed");
  t.deepEqual(await it.picture(), before);
  const result = it.events.at(-1);
  t.regex(result?.type === "result" ? result.message : "", /not installed.*exit status 7/);
  t.like(
    it.events.find((event) => event.type === "problem"),
    { problem: { id: "payload-failed" } },
  );
});

test("an upgrade that does not run leaves the version before it", async (t) => {
  const it = await Package.make(t);
  await it.install("1.0.0", RAN);
  const good = await it.picture();
  t.is(await it.install("2.0.0", DID_NOT), "failed");
  t.deepEqual(
    (await it.picture()).filter((line) => !line.startsWith("kontain/.install/journal")),
    good.filter((line) => !line.startsWith("kontain/.install/journal")),
  );
  t.is(await it.km(), "bin/km of 1.0.0");
});

test("an upgrade removes what is no longer shipped; uninstalling it leaves nothing", async (t) => {
  const it = await Package.make(t, { "kontain/bin/theirs": "somebody's", other: "x" });
  const before = await it.picture();
  await it.install("1.0.0", RAN);
  t.is(await readFile(join(it.prefix, "bin/old"), "utf8"), "bin/old of 1.0.0");
  t.is(await it.install("2.0.0", RAN), "installed");
  await t.throwsAsync(readFile(join(it.prefix, "bin/old")));
  t.is(await it.km(), "bin/km of 2.0.0");
  await it.uninstall();
  t.deepEqual(await it.picture(), before);
});

test("a second installation of the same version changes nothing, and runs the payload again", async (t) => {
  const it = await Package.make(t);
  await it.install("1.0.0", RAN);
  const first = await it.picture();
  // Nothing to agree to, so nobody is asked.
  t.is(await it.install("1.0.0", RAN, false), "installed");
  t.deepEqual(await it.picture(), first);
  t.is(it.events.filter((event) => event.type === "verify").length, 2);
});

test("interrupted while it looks, or at the question: nothing is touched, and nobody is asked any more", async (t) => {
  const it = await Package.make(t);
  const before = await it.picture();
  for (const moment of ["look", "question"]) {
    const controller = new AbortController();
    let asked = 0;
    const facts = host({ prefix: await detectPrefix(it.prefix, []) });
    const outcome = await install({
      wishes: { prefix: it.prefix },
      version: "1.0.0",
      report: (event) => it.events.push(event),
      signal: controller.signal,
      consent: async () => {
        asked++;
        controller.abort();
        return false;
      },
      doors: {
        detect: async () => {
          if (moment === "look") controller.abort();
          return facts;
        },
      },
    });
    t.is(outcome, "interrupted");
    t.is(asked, moment === "look" ? 0 : 1);
    t.like(it.events.at(-1), { message: "interrupted: nothing was changed" });
  }
  t.deepEqual(await it.picture(), before);
});

test("without consent nothing is touched", async (t) => {
  const it = await Package.make(t);
  const before = await it.picture();
  t.is(await it.install("1.0.0", RAN, false), "declined");
  t.deepEqual(await it.picture(), before);
});

test("files that the owner changed since stay at uninstall and are named", async (t) => {
  const it = await Package.make(t, { "kontain/bin/theirs": "somebody's" });
  const before = await it.picture();
  await it.install("1.0.0", RAN);
  const [km, old] = ["bin/km", "bin/old"].map((name) => join(it.prefix, name)) as [string, string];
  await writeFile(km, "mended by the owner");
  await writeFile(old, "mended too");
  await writeFile(join(it.prefix, "bin/notes"), "the owner's");
  const lines: string[] = [];
  const plain = plainReporter(
    (text) => lines.push(text),
    (text) => lines.push(text),
  );
  t.is(await uninstall({ prefix: it.prefix, report: plain, consent: async () => true }), "uninstalled");
  const said = lines.join("");
  for (const path of [km, old]) {
    t.true(
      said.includes(`${path} was changed since it was installed; kept as ${path}.changed-since-install`),
    );
  }
  t.regex(said, /uninstalled, but for what is noted above/);
  await t.throwsAsync(it.km());
  t.is(await readFile(`${km}.changed-since-install`, "utf8"), "mended by the owner");
  t.is(await readFile(`${old}.changed-since-install`, "utf8"), "mended too");
  t.is(await readFile(join(it.prefix, "bin/notes"), "utf8"), "the owner's");
  t.is(await it.uninstall(), "nothing-installed");
  for (const path of [
    `${km}.changed-since-install`,
    `${old}.changed-since-install`,
    join(it.prefix, "bin/notes"),
  ]) {
    await rm(path);
  }
  t.deepEqual(await it.picture(), before, "nothing else is left");
});

test("a file that the owner removed since is no hindrance", async (t) => {
  const it = await Package.make(t, { "kontain/bin/theirs": "somebody's" });
  const before = await it.picture();
  await it.install("1.0.0", RAN);
  for (const name of ["bin/km", "bin/old"]) await rm(join(it.prefix, name));
  t.is(await it.uninstall(), "uninstalled");
  t.deepEqual(await it.picture(), before);
});

test("uninstalling where nothing is installed says so", async (t) => {
  const it = await Package.make(t);
  t.is(await it.uninstall(), "nothing-installed");
});
