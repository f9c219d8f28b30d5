// SPDX-License-Identifier: Apache-2.0
// The parsers of what machines say, over examples and over anything.
import test from "ava";
import fc from "fast-check";
import { ConfigError, parseJsonObject, parseTomlTable } from "../../src/base/config-text.js";
import { jsonFault } from "../../src/base/json-fault.js";
import { parseCompiler } from "../../src/installer/detect/build.js";
import { CLOUDS, HYPERVISORS } from "../../src/installer/detect/clouds.js";
import { compareKernels, newestKernel, parseKernel } from "../../src/installer/detect/kernel.js";
import { membersOf } from "../../src/installer/detect/kkm.js";
import { askType, nestedOf } from "../../src/installer/detect/machine.js";
import { parseLockdown } from "../../src/installer/detect/security.js";
import {
  parseCgroup,
  parseCpu,
  parseMemory,
  parseOsRelease,
  wslOf,
} from "../../src/installer/detect/system.js";
import type { NestedFacts } from "../../src/installer/facts.js";
import { hostOf } from "../fixtures/described-host.js";

const RELEASES: [string, number, number, number, number, string][] = [
  ["6.1.0-18-cloud-amd64", 6, 1, 0, 0, "cloud-amd64"],
  ["6.12.117+deb13-amd64", 6, 12, 117, 0, "amd64"],
  ["5.10.226-214.880.amzn2.x86_64", 5, 10, 226, 0, ""],
  ["6.1.134-150.224.amzn2023.x86_64", 6, 1, 134, 0, ""],
  ["5.15.0-1049-aws", 5, 15, 0, 0, "aws"],
  ["5.4.17-2136.329.3.1.el8uek.x86_64", 5, 4, 17, 0, ""],
  ["4.18.0-553.el8_10.x86_64", 4, 18, 0, 0, ""],
  ["6.4.0-150600.23.50-default", 6, 4, 0, 0, "default"],
  ["6.6.87.2-microsoft-standard-WSL2", 6, 6, 87, 0, "microsoft-standard-WSL2"],
  ["6.15.2-arch1-1", 6, 15, 2, 0, ""],
  ["7.0-rc3", 7, 0, 0, 3, ""],
  ["6.11.0-061100rc7-generic", 6, 11, 0, 7, "generic"],
  ["7.0.0-rc2+", 7, 0, 0, 2, ""],
  ["nonsense", 0, 0, 0, 0, ""],
];

test("kernel releases of distributions, clouds and release candidates", (t) => {
  for (const [release, major, minor, patch, rc, flavour] of RELEASES) {
    t.deepEqual(parseKernel(release), { release, major, minor, patch, rc, flavour });
  }
});

test("kernels in their order", (t) => {
  const ordered = [
    "4.14.355-276.618.amzn2.x86_64",
    "5.10.0-9-amd64",
    "5.10.0-46-amd64",
    "6.1.0-9-amd64",
    "6.1.0-18-amd64",
    "6.1.0-37-amd64",
    "6.12.9-amd64",
    "6.12.117+deb13-amd64",
    "7.0-rc1",
    "7.0-rc12",
    "7.0",
    "7.2.13+deb14-amd64",
  ];
  const shuffled = [...ordered].reverse();
  t.deepEqual(shuffled.sort(compareKernels), ordered);
  t.is(
    newestKernel("6.1.0-9-amd64", ["6.1.0-9-amd64", "6.1.0-18-amd64", "6.12.9-cloud-amd64"]),
    "6.1.0-18-amd64",
  );
  t.is(newestKernel("6.1.0-9-amd64", []), "6.1.0-9-amd64");
});

const release = fc.oneof(
  fc.string(),
  fc
    .tuple(fc.nat(20), fc.nat(200), fc.nat(500), fc.string({ maxLength: 12 }))
    .map(([a, b, c, rest]) => `${a}.${b}.${c}${rest}`),
  fc.constantFrom(...RELEASES.map(([text]) => text)),
);

test("the order of any releases is total", (t) => {
  const sign = (a: string, b: string) => Math.sign(compareKernels(a, b));
  fc.assert(
    fc.property(release, release, release, (a, b, c) => {
      t.is(sign(a, a), 0);
      t.is(sign(a, b) + sign(b, a), 0);
      if (sign(a, b) <= 0 && sign(b, c) <= 0) t.true(sign(a, c) <= 0);
    }),
    { numRuns: 2000 },
  );
});

test("a release is taken apart into what it was put together from", (t) => {
  fc.assert(
    fc.property(fc.nat(99), fc.nat(99), fc.nat(999), fc.nat(99), (major, minor, patch, rc) => {
      const text = `${major}.${minor}.${patch}${rc ? `-rc${rc}` : ""}-generic`;
      t.like(parseKernel(text), { major, minor, patch, rc, flavour: "generic" });
    }),
  );
});

test("os-release with and without quotes, and without a version", (t) => {
  const debian = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n';
  const name = "Debian GNU/Linux 12 (bookworm)";
  t.deepEqual(parseOsRelease(debian), { id: "debian", like: [], version: "12", name });
  t.deepEqual(parseOsRelease("ID='arch'\n"), { id: "arch", like: [], version: "", name: "unknown" });
  t.deepEqual(parseOsRelease('ID_LIKE="rhel fedora"').like, ["rhel", "fedora"]);
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z0-9._-]+$/), fc.stringMatching(/^[ -!#-~]+$/), (id, pretty) => {
      const parsed = parseOsRelease(`ID=${id}\nPRETTY_NAME="${pretty}"\n`);
      t.is(parsed.id, id);
      t.is(parsed.name, pretty);
    }),
  );
});

test("the processor's virtualization is read from whole flags", (t) => {
  const cpu = (flags: string) =>
    parseCpu(`processor\t: 0\nvendor_id\t: V\nmodel name\t: X\nflags\t\t: ${flags}\n\nprocessor\t: 1\n`);
  t.deepEqual(cpu("fpu vmx sse"), { model: "X", vendor: "V", virtualization: "vmx", hypervisor: false });
  t.is(cpu("fpu svm_lock").virtualization, "none");
  t.like(cpu("svm hypervisor"), { virtualization: "svm", hypervisor: true });
});

test("compilers as kernels name them", (t) => {
  const named: [string, string][] = [
    ["gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0", "gcc 12"],
    ["x86_64-linux-gnu-gcc-13 (Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0", "gcc 13"],
    ["gcc (GCC) 11.4.1 20230605 (Red Hat 11.4.1-2)", "gcc 11"],
    ["gcc10-gcc (GCC) 10.5.0 20230707 (Red Hat 10.5.0-1)", "gcc 10"],
    ["gcc (SUSE Linux) 7.5.0", "gcc 7"],
    ["Ubuntu clang version 15.0.7", "clang 15"],
    [
      "clang version 17.0.6 (https://github.com/llvm/llvm-project 6009708b4367171ccdbf4b5905cb6a803753fe18)",
      "clang 17",
    ],
  ];
  for (const [text, name] of named) {
    const parsed = parseCompiler(text);
    t.is(parsed && `${parsed.family} ${parsed.major}`, name, text);
  }
  t.is(parseCompiler(""), undefined);
  fc.assert(fc.property(fc.string(), (text) => parseCompiler(text)?.major !== -1));
});

test("lockdown, control groups, memory, groups, WSL", (t) => {
  t.is(parseLockdown("none [integrity] confidentiality\n"), "integrity");
  t.is(parseLockdown("[none] integrity confidentiality\n"), "none");
  t.is(parseLockdown(undefined), "absent");
  t.is(parseLockdown("[else]"), "absent");
  t.is(parseCgroup("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"), "v2");
  t.is(parseCgroup("a /b cgroup rw\nc /d cgroup2 rw\n"), "hybrid");
  t.is(parseCgroup("cgroup2 /sys/fs/cgroup tmpfs rw\n"), "none");
  t.is(parseMemory("MemTotal:   2048 kB\n").totalMiB, 2);
  t.deepEqual(membersOf("kkm", "xkkm:x:1:a\nkkm:x:2:a,b\n"), ["a", "b"]);
  t.deepEqual(membersOf("kkm", "kkm:x:2:\n"), []);
  t.is(membersOf("kkm", "kkmx:x:2:\n"), null);
  t.is(wslOf("6.6.87.2-microsoft-standard-WSL2", ""), 2);
  t.is(wslOf("4.4.0-19041-Microsoft", "Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com)"), 1);
  t.is(wslOf("6.8.0-1030-azure", "Linux version 6.8.0-1030-azure (buildd@lcy02)"), 0);
});

test("no parser of text files fails on anything", (t) => {
  const parsers = [parseOsRelease, parseCpu, parseLockdown, parseCgroup, parseMemory, parseKernel];
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      for (const parse of parsers) parse(text);
      membersOf("kkm", text);
      wslOf(text, text);
      return true;
    }),
  );
  t.pass();
});

test("broken JSON is named with line and column", (t) => {
  const where = (text: string) =>
    t.throws(() => parseJsonObject(text, "F"), { instanceOf: ConfigError }).message;
  t.regex(where('{\n  "a": 1,,\n}\n'), /^F:2:10: not valid JSON/);
  t.regex(where('{\n  "runtimes": {\n'), /^F:[23]:\d+: not valid JSON/);
  t.regex(where("[]"), /^F:1:1: holds no JSON object/);
  t.regex(where("null"), /no JSON object/);
  t.deepEqual(parseJsonObject(" \n", "F"), {});
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parseJsonObject(text, "F");
      } catch (error) {
        t.true(error instanceof ConfigError && /^F:\d+:\d+: /.test(error.message), String(error));
      }
    }),
  );
});

test("the place of a fault in JSON is the first token that does not fit, and nothing of the text is quoted", (t) => {
  const table: [text: string, place: string, what: RegExp][] = [
    ['{"a": hunter2}', "1:7", /unexpected word/],
    ['{"a": tru}', "1:7", /unexpected word/],
    ['{"a": }', "1:7", /unexpected "}"/],
    ['{"a": 1 "b": 2}', "1:9", /unexpected text in quotes/],
    ['{"a" 1}', "1:6", /":" is missing/],
    ["{'a': 1}", "1:2", /unexpected word or character/],
    ['{"a": 01}', "1:7", /unexpected/],
    ['{"a": "hunter2\n"}', "1:7", /unexpected/],
    ['{"a": 1}\n{"b": 2}', "2:1", /unexpected "{"/],
    ['{"a": [1, 2', "1:12", /ends too early/],
    ["[1,]", "1:4", /unexpected "]"/],
  ];
  for (const [text, place, what] of table) {
    const error = t.throws(() => parseJsonObject(text, "F"), { instanceOf: ConfigError }, text);
    t.true(error?.message.startsWith(`F:${place}: not valid JSON: `), `${text}: ${error?.message}`);
    t.regex(error?.message ?? "", what);
    t.false(error?.message.includes("hunter2"));
  }
});

test("a fault is found exactly where JSON.parse finds one", (t) => {
  const pieces = fc.array(
    fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      '"a"',
      '"',
      "1",
      "-0.5e3",
      "01",
      "true",
      "nul",
      " ",
      "\n",
      "\\",
      "é",
    ),
  );
  const texts = fc.oneof(
    pieces.map((all) => all.join("")),
    fc.json(),
    fc.string(),
  );
  fc.assert(
    fc.property(texts, (text) => {
      let valid = true;
      try {
        JSON.parse(text);
      } catch {
        valid = false;
      }
      t.is(jsonFault(text) === undefined, valid, text);
    }),
    { numRuns: 2000 },
  );
});

test("broken TOML is named with line and column", (t) => {
  const error = t.throws(() => parseTomlTable("version = 2\n[plugins\n", "F"), {
    instanceOf: ConfigError,
  });
  t.regex(error?.message ?? "", /^F:2:\d+: not valid TOML/);
});

test("every cloud's last rule is for any type, and says what to do and from where", (t) => {
  for (const cloud of CLOUDS) {
    for (const rule of cloud.nested) t.true(rule.how !== "" && rule.source !== "", cloud.id);
    t.true(cloud.nested.at(-1)?.types.test("x"), cloud.id);
    t.not(nestedOf(cloud, "some-type.large").how, "");
  }
  for (const [id, { how, source }] of Object.entries(HYPERVISORS)) t.true(how !== "" && source !== "", id);
});

test("what instance types offer", (t) => {
  const offer = (id: string, type: string) => {
    const cloud = CLOUDS.find((row) => row.id === id);
    return cloud && nestedOf(cloud, type).offer;
  };
  const table: [string, string, NestedFacts["offer"]][] = [
    ["aws", "m8i.large", "switch"],
    ["aws", "c8i-flex.xlarge", "switch"],
    ["aws", "r8id.metal-48xl", "offered"],
    ["aws", "m7i.large", "switch"],
    ["aws", "m7a.large", "metal"],
    ["aws", "m8g.large", "metal"],
    ["aws", "t3.micro", "metal"],
    ["gcp", "e2-small", "never"],
    ["gcp", "n2d-standard-2", "never"],
    ["gcp", "n2-standard-2", "switch"],
    ["gcp", "c3-standard-192-metal", "offered"],
    ["azure", "Standard_D4s_v5", "offered"],
    ["azure", "Standard_D4as_v5", "offered"],
    ["azure", "Standard_D4as_v4", "never"],
    ["azure", "Standard_D2ps_v6", "never"],
    ["azure", "Standard_DS2_v2", "never"],
    ["azure", "Standard_DC2as_v5", "never"],
    ["azure", "Standard_B2s", "never"],
    ["azure", "Standard_L8s_v3", "unknown"],
    ["oracle", "BM.Standard.E4.128", "offered"],
    ["oracle", "VM.Standard.E4.Flex", "metal"],
    ["hetzner", "cx22", "never"],
  ];
  for (const [cloud, type, wanted] of table) t.is(offer(cloud, type), wanted, `${cloud} ${type}`);
});

test("a metadata service is not trusted with what it answers", async (t) => {
  const url = "http://169.254.169.254/x";
  const answer = (text: string) =>
    askType(
      hostOf({
        about: "",
        release: "6.1",
        files: {},
        facts: {},
        answers: { [url]: text },
        plan: { device: "", runs: [] },
      }),
      { url },
    );
  t.is(await answer("m5.large\n"), "m5.large");
  t.is(await answer("\u001b[31mm5"), undefined);
  t.is(await answer("<html>a captive portal</html>"), undefined);
  t.is(await answer(""), undefined);
});
