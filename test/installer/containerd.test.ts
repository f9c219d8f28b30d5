// SPDX-License-Identifier: Apache-2.0
// Registering with containerd: by a drop-in where those are merged, else at the end of the main file; what is there
// stays, byte for byte.
import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { execa } from "execa";
import fc from "fast-check";
import { parse, stringify } from "smol-toml";
import { ConfigError } from "../../src/base/config-text.js";
import { apply, undo } from "../../src/installer/apply/apply.js";
import { Journal } from "../../src/installer/apply/journal.js";
import { CONTAINERD_DROP_IN } from "../../src/installer/etc.js";
import type { HostFacts } from "../../src/installer/facts.js";
import { withContainerdRuntime } from "../../src/installer/plan/containerd.js";
import { plan } from "../../src/installer/plan/plan.js";
import { bundleFile, host, PREFIX, picture, skipped, temporaryFolder } from "./fixtures.js";

const FILE = "/etc/containerd/config.toml";
const KRUN = "/opt/kontain/bin/krun";
const NAMES = ["krun", "kontain"];
const IMPORTS = 'imports = ["/etc/containerd/conf.d/*.toml"]\n';

const change = (main: string | null, version: string | null) =>
  withContainerdRuntime({ main, file: FILE, version }, NAMES, KRUN);

/** What it is to be in the parsed file. */
const RUNC = { runtime_type: "io.containerd.runc.v2" };
const RUNTIME = { runtime_type: "io.containerd.runc.v2", options: { BinaryName: KRUN } };

const MAIN = `version = 2
# chosen by hand
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "mirror.example/pause:3.9"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
`;

test("containerd 2 whose main file imports the folder gets a drop-in of the main file's version", (t) => {
  const made = change(`version = 3\n${IMPORTS}`, "2.1.4");
  if (made.kind !== "write") return t.fail(made.kind);
  t.is(made.path, CONTAINERD_DROP_IN);
  t.deepEqual(parse(made.content), {
    version: 3,
    plugins: { "io.containerd.cri.v1.runtime": { containerd: { runtimes: { krun: RUNTIME, runc: RUNC } } } },
  });
});

test("containerd 1 gets it in the main file, even where that imports: a drop-in would replace the section", (t) => {
  for (const main of [MAIN, MAIN.replace("version = 2\n", `version = 2\n${IMPORTS}`)]) {
    const made = change(main, "1.7.27");
    if (made.kind !== "write") return t.fail(made.kind);
    t.is(made.path, FILE);
    t.true(made.content.startsWith(main), "what was there is there, byte for byte");
    const cri = (parse(made.content) as { plugins: Record<string, { containerd: { runtimes: object } }> })
      .plugins["io.containerd.grpc.v1.cri"];
    t.deepEqual(Object.keys(cri?.containerd.runtimes ?? {}), ["runc", "krun"]);
    t.like(cri, { sandbox_image: "mirror.example/pause:3.9", containerd: { runtimes: { krun: RUNTIME } } });
    t.deepEqual(change(made.content, "1.7.27"), { kind: "known" });
  }
});

test("without a main file: containerd's defaults stay, in the format of its age", (t) => {
  const made = (version: string | null) => {
    const it = change(null, version);
    return it.kind === "write" ? [it.path, (parse(it.content) as { version: number }).version] : it.kind;
  };
  t.deepEqual(made("1.6.20"), [FILE, 2]);
  t.deepEqual(made("2.0.5"), [FILE, 3]);
  t.deepEqual(made("2.2.0"), [CONTAINERD_DROP_IN, 3]);
});

test("any other settings stay what they are", (t) => {
  const key = fc.stringMatching(/^[a-z_]{1,8}$/).filter((name) => !["version", "imports"].includes(name));
  const value = fc.oneof(
    fc.boolean(),
    fc.integer(),
    fc.string({ unit: "grapheme-ascii" }),
    fc.array(fc.integer()),
  );
  const sections = fc.dictionary(key, fc.dictionary(key, value));
  const runtimes = fc.dictionary(key, fc.dictionary(key, value));
  fc.assert(
    fc.property(sections, runtimes, (plugins, others) => {
      const cri = { containerd: { runtimes: others } };
      const main = stringify({ version: 2, plugins: { ...plugins, "io.containerd.grpc.v1.cri": cri } });
      const made = change(main, "1.7.27");
      if (made.kind !== "write") return t.fail(JSON.stringify(made));
      const read = parse(made.content) as { plugins: Record<string, unknown> };
      const expected = { containerd: { runtimes: { runc: RUNC, ...others, [made.name]: RUNTIME } } };
      t.deepEqual(JSON.parse(JSON.stringify(read.plugins)), {
        ...JSON.parse(JSON.stringify(parse(main))).plugins,
        "io.containerd.grpc.v1.cri": JSON.parse(JSON.stringify(expected)),
      });
    }),
  );
});

test("names that are taken are left to whoever has them; CRI switched off, unknown formats, inline tables are told", (t) => {
  const runtime = (name: string) =>
    `[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.${name}]\nruntime_type = "x"\n`;
  const second = change(`version = 2\n${runtime("krun")}`, "1.7.27");
  t.is(second.kind === "write" && second.name, "kontain");
  const notes: [string, RegExp][] = [
    [`version = 2\n${runtime("krun")}${runtime("kontain")}`, /other runtimes named krun and kontain/],
    ['version = 2\ndisabled_plugins = ["cri"]\n', /CRI is switched off/],
    ["version = 9\n", /version 9 .* not known/],
    ['version = 2\nplugins = { "io.containerd.grpc.v1.cri" = { stats = 1 } }\n', /inline tables/],
  ];
  for (const [main, words] of notes) {
    const it = change(main, "1.7.27");
    t.is(it.kind, "note", main);
    t.regex(it.kind === "note" ? it.note : "", words);
  }
});

test("a broken main file is named with line and column", (t) => {
  const error = t.throws(() => change("version = 2\n[plugins\n", "1.7.27"), { instanceOf: ConfigError });
  t.regex(error?.message ?? "", /^\/etc\/containerd\/config\.toml:2:\d+: not valid TOML/);
});

/** A host with containerd and a package with (or without) a runtime. */
function containerdHost(main: string | null, runtime = true): HostFacts {
  const files = [...host().bundle.files, ...(runtime ? [bundleFile("bin/krun")] : [])];
  return host({
    user: { uid: 0, name: "root", groups: [] },
    bundle: { version: "0.1.0", files, missing: [] },
    prefix: { ...host().prefix, targets: files.map(({ target }) => ({ target, state: "same" as const })) },
    engines: {
      docker: null,
      podman: null,
      containerd: { path: "/usr/bin/containerd", version: "1.7.27", config: FILE, configProblem: null },
      kubelet: true,
    },
    etc: { [FILE]: main },
    folders: ["/etc/containerd"],
  });
}

test("planned only when the package has the runtime; broken TOML refuses the installation", (t) => {
  const decided = plan(containerdHost(MAIN), { prefix: PREFIX });
  if (decided.kind !== "plan") return t.fail(decided.reason);
  t.like(decided.steps[0], { kind: "text", path: FILE, mode: 0o644 });
  t.is(decided.steps.length, 1);
  t.regex(decided.notes.join("\n"), /RuntimeClass with handler krun/);
  const without = plan(containerdHost("[broken", false), { prefix: PREFIX });
  t.deepEqual(without.kind === "plan" && without.steps, []);
  t.like(plan(containerdHost("[broken"), { prefix: PREFIX }), { code: "engine-config-broken" });
  const known = decided.steps[0]?.kind === "text" ? decided.steps[0].content : "";
  const again = plan(containerdHost(known), { prefix: PREFIX });
  t.deepEqual(again.kind === "plan" && again.steps, []);
});

test("a real containerd reads it, and has every runtime it had before", async (t) => {
  const folder = await temporaryFolder(t);
  const dump = async (main: string) => {
    const file = join(folder, "config.toml");
    await writeFile(file, main);
    const said = await execa("containerd", ["--config", file, "config", "dump"], { reject: false });
    if (said.exitCode === undefined) return undefined;
    t.is(said.exitCode, 0, said.stderr);
    return [...said.stdout.matchAll(/containerd\.runtimes\.(\w+)\]/g)].map(([, name]) => name).sort();
  };
  const version = await execa("containerd", ["--version"], { reject: false });
  if (version.exitCode !== 0) return skipped(t, "no containerd on this machine");
  for (const main of [null, MAIN]) {
    const made = change(main, /\d+\.\d+\.\d+/.exec(version.stdout)?.[0] ?? null);
    if (made.kind !== "write") return t.fail(made.kind);
    if (made.path !== FILE) return t.log("a drop-in: containerd reads it in its own folder only");
    t.deepEqual(await dump(made.content), ["krun", "runc"]);
  }
});

test("applied and taken back: a file that was closed to others stays closed", async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, "config.toml");
  await writeFile(path, MAIN);
  await chmod(path, 0o600);
  const before = await picture(folder);
  const made = change(MAIN, "1.7.27");
  if (made.kind !== "write") return t.fail();
  const journal = (await Journal.open(join(folder, "kontain"), { create: true })) as Journal;
  const { content, part } = made;
  await apply(journal, [
    { kind: "text", path, content, mode: 0o644, why: "a runtime", ...(part ? { part } : {}) },
  ]);
  t.is((await stat(path)).mode & 0o777, 0o600);
  t.is(await readFile(path, "utf8"), content);
  await undo(journal, 0);
  await journal.close();
  t.deepEqual(
    (await picture(folder)).filter((line) => !line.startsWith("kontain")),
    before,
  );
});
