// SPDX-License-Identifier: Apache-2.0
// Registering a runtime: what is there stays, what is broken is named with its place, nothing is registered that is not
// there.
import test from "ava";
import fc from "fast-check";
import { parse } from "smol-toml";
import { ConfigError } from "../../src/base/config-text.js";
import type { HostFacts } from "../../src/installer/facts.js";
import { dockerRuntime, podmanDropIn, withDockerRuntime } from "../../src/installer/plan/merge.js";
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
  t.is(withDockerRuntime(after, FILE, "krun", KRUN), after);
});

test("any object keeps all that it had", (t) => {
  const value = fc.dictionary(
    fc.string().filter((key) => key !== "__proto__"),
    fc.jsonValue(),
  );
  fc.assert(
    fc.property(value, (config) => {
      const text = JSON.stringify(config);
      const merged = JSON.parse(withDockerRuntime(text, FILE, "krun", KRUN)) as Record<string, unknown>;
      t.is(dockerRuntime(JSON.stringify(merged), FILE, "krun"), KRUN);
      const { runtimes: _, ...rest } = merged;
      const { runtimes: __, ...was } = JSON.parse(text) as Record<string, unknown>;
      t.deepEqual(rest, was);
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

test("a broken configuration refuses the installation, with line and column", (t) => {
  const [code, reason] = outside(engines(true, '{\n  "a": 1,,\n}'));
  t.is(code, "engine-config-broken");
  t.regex(reason ?? "", /daemon\.json:2:10/);
});
