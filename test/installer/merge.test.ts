// SPDX-License-Identifier: Apache-2.0
// Registering a runtime: what is there stays, what is broken is named with its place, nothing is registered that is not
// there.
import test from "ava";
import fc from "fast-check";
import { parse } from "smol-toml";
import { ConfigError } from "../../src/base/config-text.js";
import { withoutPart } from "../../src/installer/apply/part.js";
import type { HostFacts } from "../../src/installer/facts.js";
import {
  dockerPart,
  dockerRuntime,
  podmanDropIn,
  withDockerRuntime,
} from "../../src/installer/plan/merge.js";
import { plan } from "../../src/installer/plan/plan.js";
import { bundleFile, host, PREFIX } from "./fixtures.js";

const FILE = "/etc/docker/daemon.json";
const KRUN = "/opt/kontain/bin/krun";

test("an empty or absent file gets the runtime and nothing else", (t) => {
  t.deepEqual(JSON.parse(withDockerRuntime("", FILE, "krun", KRUN)), { runtimes: { krun: { path: KRUN } } });
});

test("order, indentation and every other key stay", (t) => {
  const before =
    '{\n    "log-driver": "local",\n    "runtimes": {\n        "runsc": {\n            "path": "/r"\n        }\n    },\n    "debug": true\n}\n';
  const after = withDockerRuntime(before, FILE, "krun", KRUN);
  t.is(
    after,
    before.replace(
      '"path": "/r"\n        }\n',
      `"path": "/r"\n        },\n        "krun": {\n            "path": "${KRUN}"\n        }\n`,
    ),
  );
  t.is(dockerRuntime(after, FILE, "krun"), KRUN);
});

test("numbers, escapes, keys that are there twice, spaces: not a byte is written anew", (t) => {
  const odd =
    '{ "mtu": 1.50e3, "big": 123456789012345678901, "10": 1, "2": "\\u0041\\/",\r\n\t"a" : [ ], "a": {} }';
  const after = withDockerRuntime(odd, FILE, "krun", KRUN);
  t.is(after, odd.replace('"a": {}', `"a": {}, "runtimes": {"krun": {"path": "${KRUN}"}}`));
  const inLine = '{\n  "runtimes": {"runsc": {"path": "/r"}},\n  "debug": true\n}\n';
  const runtime = `{"runsc": {"path": "/r"}, "krun": {"path": "${KRUN}"}}`;
  t.is(withDockerRuntime(inLine, FILE, "krun", KRUN), inLine.replace('{"runsc": {"path": "/r"}}', runtime));
  const empty = withDockerRuntime('{\n\t"runtimes": {}\n}\n', FILE, "krun", KRUN);
  t.is(empty, `{\n\t"runtimes": {\n\t\t"krun": {\n\t\t\t"path": "${KRUN}"\n\t\t}\n\t}\n}\n`);
});

test("runtimes that are no object are named with their place, and not replaced", (t) => {
  for (const odd of ["[]", "null", '"x"', "7"]) {
    const error = t.throws(() => withDockerRuntime(`{\n  "runtimes": ${odd}\n}`, FILE, "krun", KRUN), {
      instanceOf: ConfigError,
    });
    t.is(error?.message, `${FILE}:2:3: "runtimes" is no object`);
  }
});

/** Any JSON object in any layout. */
const documents = fc
  .tuple(
    fc.dictionary(fc.string({ minLength: 1 }), fc.jsonValue()),
    fc.option(fc.dictionary(fc.string({ minLength: 1 }), fc.record({ path: fc.string() }), { minKeys: 1 })),
    fc.constantFrom("", "  ", "\t", "    "),
    fc.constantFrom("\n", "\r\n"),
  )
  .map(([config, runtimes, indent, newline]) => {
    const { runtimes: _, krun: __, ...rest } = config;
    const all = runtimes ? { ...rest, runtimes: { ...runtimes, krun: undefined } } : rest;
    return JSON.stringify(all, null, indent).replaceAll("\n", newline) + (indent ? newline : "");
  })
  .filter((text) => text.trim() !== "{}");

test("any document in any layout: the runtime comes in, goes out, and the rest is as it was, to the byte", (t) => {
  fc.assert(
    fc.property(documents, fc.string({ minLength: 1 }), (text, path) => {
      const was = JSON.parse(text) as { runtimes?: object };
      const with_ = withDockerRuntime(text, FILE, "krun", path);
      t.deepEqual(JSON.parse(with_), { ...was, runtimes: { ...was.runtimes, krun: { path } } });
      t.deepEqual(withoutPart(with_, text, dockerPart("krun", path), FILE), { content: text });
    }),
  );
});

test("a half-written file is refused with its place, not mended", (t) => {
  const half = '{\n  "runtimes": {\n    "runsc": {"path": "/r"},\n';
  const error = t.throws(() => withDockerRuntime(half, FILE, "krun", KRUN), { instanceOf: ConfigError });
  t.regex(error?.message ?? "", /^\/etc\/docker\/daemon\.json:[34]:\d+: not valid JSON/);
});

test("podman's drop-in is TOML that names the runtime, whatever the prefix", (t) => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme-ascii" }), (path) => {
      t.deepEqual(parse(podmanDropIn("krun", path)), { engine: { runtimes: { krun: [path] } } });
    }),
  );
});

/** A host with docker and podman, and a package with (or without) a runtime. */
function engines(runtime: boolean, daemon: string | null): HostFacts {
  const files = [...host().bundle.files, ...(runtime ? [bundleFile("bin/krun")] : [])];
  const targets = files.map(({ target }) => ({ target, state: "absent" as const }));
  return host({
    user: { uid: 0, name: "root", groups: [] },
    bundle: { version: "0.1.0", files, missing: [] },
    prefix: { ...host().prefix, targets },
    engines: {
      docker: {
        how: "package",
        path: "/usr/bin/docker",
        version: "28",
        config: FILE,
        configProblem: null,
        running: true,
      },
      podman: { path: "/usr/bin/podman", version: "5" },
      containerd: null,
      kubelet: false,
    },
    etc: { [FILE]: daemon },
    folders: ["/etc/docker", "/etc/containers"],
  });
}

function outside(facts: HostFacts): string[] {
  const decided = plan(facts, { prefix: PREFIX });
  if (decided.kind !== "plan") return [decided.code, decided.reason];
  return decided.steps.flatMap((step) =>
    step.kind !== "run" && !step.path.startsWith(PREFIX) ? [`${step.kind} ${step.path}`] : [],
  );
}

test("a runtime that is not in the package is not registered", (t) => {
  t.deepEqual(outside(engines(false, "{}")), []);
  t.deepEqual(outside(engines(false, "{,")), [], "and then a broken file is nobody's business");
});

test("a runtime in the package is registered with the engines that are there", (t) => {
  t.deepEqual(outside(engines(true, "{}")), [
    `text ${FILE}`,
    "folder /etc/containers/containers.conf.d",
    "text /etc/containers/containers.conf.d/50-kontain.conf",
  ]);
  const known = withDockerRuntime("{}", FILE, "krun", KRUN);
  t.false(outside(engines(true, known)).includes(`text ${FILE}`));
});

test("a name that is taken is left to whoever has it", (t) => {
  const taken = withDockerRuntime("{}", FILE, "krun", "/usr/bin/crun-krun");
  const decided = plan(engines(true, taken), { prefix: PREFIX });
  if (decided.kind !== "plan") return t.fail();
  const text = decided.steps.find((step) => step.kind === "text" && step.path === FILE);
  const content = text?.kind === "text" ? text.content : "";
  t.is(dockerRuntime(content, FILE, "krun"), "/usr/bin/crun-krun");
  t.is(dockerRuntime(content, FILE, "kontain"), KRUN);
});

test("a rootless docker is its user's: root writes nothing into its configuration", (t) => {
  const facts = engines(true, null);
  if (facts.engines.docker)
    facts.engines.docker = { ...facts.engines.docker, how: "rootless", config: "/root/x" };
  const decided = plan(facts, { prefix: PREFIX });
  if (decided.kind !== "plan") return t.fail(decided.reason);
  t.false(decided.steps.some((step) => step.kind === "text" && step.path === "/root/x"));
  t.regex(decided.notes.join("\n"), /docker is rootless: its user adds the runtime .* to \/root\/x/);
});

test("a broken configuration refuses the installation, with line and column", (t) => {
  const [code, reason] = outside(engines(true, '{\n  "a": 1,,\n}'));
  t.is(code, "engine-config-broken");
  t.regex(reason ?? "", /daemon\.json:2:10/);
});
