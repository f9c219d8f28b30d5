// SPDX-License-Identifier: Apache-2.0
// Every check on a healthy host and on one where it is not ok; crashes; what is printed; the real machine.
import { readdirSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { hostname, userInfo } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { bundleText } from "../../src/doctor/bundle.js";
import { type Check, type Context, ok } from "../../src/doctor/check.js";
import { CHECKS } from "../../src/doctor/checks.js";
import { markdown, reportLines, summary } from "../../src/doctor/report.js";
import { exitStatus, type Result, runChecks } from "../../src/doctor/run.js";
import { detect } from "../../src/installer/detect/detect.js";
import { ETC_FILES } from "../../src/installer/etc.js";
import {
  COMMON,
  cpu,
  DEBIAN_12,
  doorsOf,
  type HostDescription,
  kernel,
  tools,
  wishesOf,
} from "../fixtures/described-host.js";
import { temporaryFolder } from "../installer/fixtures.js";
import { FAILING, type Failing } from "./failing.js";

const TWO = cpu("intel", "fxsr xsave vmx")["/proc/cpuinfo"] ?? "";

/** Made up: bare metal with KVM, everything in place. */
const HEALTHY: HostDescription = {
  about: "a machine with nothing to complain about",
  release: "6.1.0-37-amd64",
  files: {
    ...COMMON,
    ...DEBIAN_12,
    ...kernel("6.1.0-37-amd64", "gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"),
    "/proc/cpuinfo": TWO + TWO,
    "/proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 7000000 kB\n",
    "/proc/sys/vm/overcommit_memory": "0\n",
    "/proc/sys/vm/max_map_count": "65530\n",
    "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "/proc/sys/kernel/seccomp/actions_avail": "kill_process trap errno allow\n",
  },
  commands: { ...tools(12), "systemd-detect-virt --vm": { status: 1, stdout: "none\n", stderr: "" } },
  devices: { "/dev/kvm": { group: "kvm" } },
  facts: {},
  plan: { device: "/dev/kvm", runs: [] },
};

function changed({ host = {}, files = {} }: Failing): HostDescription {
  const all: Record<string, string | null> = { ...HEALTHY.files, ...host.files, ...files };
  const kept = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null);
  const described = { ...HEALTHY, ...host, files: Object.fromEntries(kept) };
  // What the healthy host's tools say stays said where a case does not speak of commands.
  return host.commands && !("gcc -dumpversion" in host.commands) && Object.keys(host.commands).length > 0
    ? { ...described, commands: { ...tools(12), ...host.commands } }
    : described;
}

async function contextOf(description: HostDescription): Promise<Context> {
  const doors = doorsOf(description);
  const facts = await detect({ ...wishesOf(description), everyDevice: true }, () => {}, doors);
  const km = "/opt/kontain/bin/km";
  return {
    host: doors.host,
    facts,
    prefix: "/opt/kontain",
    installed: { version: "0.1.0", device: "/dev/kvm", files: [{ path: km, sha256: km }] },
    fingerprint: async (path) => path,
    runHello: async () => ({ works: true, command: "km hello", stdout: "", problem: "" }),
    env: { PATH: "/usr/bin:/opt/kontain/bin" },
  };
}

function check(changes: Partial<Check> & Pick<Check, "run">): Check {
  return { id: "KKM-CPU-999", title: "a title", looks: "at nothing", fix: "do it", ...changes };
}

test("ids are stable in form, unique, and in the order of the groups", (t) => {
  const ids = CHECKS.map(({ id }) => id);
  t.true(ids.length >= 35, `${ids.length} checks`);
  t.is(new Set(ids).size, ids.length);
  for (const id of ids) t.regex(id, /^KKM-(CPU|HYP|KERN|MOD|DEV|MON|ENG|K8S)-\d{3}$/);
  for (const { id, title, looks, fix } of CHECKS) t.true(title !== "" && looks !== "" && fix !== "", id);
});

test("every file in checks/ is one of the checks", (t) => {
  const files = readdirSync(new URL("../../src/doctor/checks/", import.meta.url));
  t.is(files.length, CHECKS.length);
});

test("a healthy host: nothing but ok and what does not apply", async (t) => {
  const results = await runChecks(CHECKS, await contextOf(HEALTHY));
  const bad = results.filter(({ verdict }) => verdict !== "ok" && verdict !== "skip");
  t.deepEqual(bad, []);
  t.is(exitStatus(results), 0);
  t.true(results.every(({ fix }) => fix === ""));
});

test("every check has a host on which it is not ok", (t) => {
  t.deepEqual(Object.keys(FAILING).sort(), CHECKS.map(({ id }) => id as string).sort());
});

for (const one of CHECKS) {
  test(`${one.id} ${one.title}`, async (t) => {
    const failing = FAILING[one.id];
    if (!failing) return t.fail("no host on which it is not ok");
    const context = await contextOf(changed(failing));
    failing.change?.(context);
    const [result] = await runChecks([one], context);
    t.is(result?.verdict, failing.verdict, result?.evidence);
    t.regex(result?.evidence ?? "", failing.evidence);
    t.not(result?.fix, "");
  });
}

test("docker knows the runtime by its second name too, where the first is somebody else's", async (t) => {
  const failing = FAILING["KKM-ENG-004"];
  const runtimes = { krun: { path: "/usr/bin/crun-krun" }, kontain: { path: "/opt/kontain/bin/krun" } };
  const files = { "/etc/docker/daemon.json": JSON.stringify({ runtimes }) };
  const context = await contextOf(changed({ ...failing, files } as Failing));
  failing?.change?.(context);
  const [found] = await runChecks(
    CHECKS.filter(({ id }) => id === "KKM-ENG-004"),
    context,
  );
  t.like(found, { verdict: "ok", evidence: "kontain: /opt/kontain/bin/krun" });
});

test("a check that throws, at once or later, or hangs, is a result and hides no other", async (t) => {
  const context = await contextOf(HEALTHY);
  const checks = [
    check({
      run: () => {
        throw new Error("at once");
      },
    }),
    check({ run: async () => Promise.reject(new Error("later")) }),
    check({ run: () => new Promise(() => {}) }),
    check({ run: () => ok("fine") }),
  ];
  const results = await runChecks(checks, context, 1);
  t.deepEqual(
    results.map(({ verdict }) => verdict),
    ["crash", "crash", "crash", "ok"],
  );
  t.deepEqual(
    results.slice(0, 3).map(({ evidence }) => evidence),
    ["at once", "later", "no answer within 1 seconds"],
  );
  t.is(exitStatus(results), 2);
});

const result = (verdict: Result["verdict"]): Result => ({
  id: "KKM-CPU-001",
  title: "a title",
  verdict,
  evidence: "seen",
  fix: verdict === "fail" ? "do it" : "",
  milliseconds: 1,
});

test("exit status: warnings do not count, failures do, crashes count more", (t) => {
  t.is(exitStatus([result("ok"), result("warn"), result("skip")]), 0);
  t.is(exitStatus([result("ok"), result("fail")]), 1);
  t.is(exitStatus([result("fail"), result("crash")]), 2);
});

test("the report: groups, verdicts, what to do; skipped ones only when asked for", (t) => {
  const results = [result("fail"), result("skip")];
  t.deepEqual(reportLines(results), [
    "processor",
    "  ✘ fail  KKM-CPU-001  a title: seen",
    "                        fix: do it",
    "1 fail, 1 skip",
  ]);
  t.is(reportLines(results, { all: true }).length, 5);
  t.true(reportLines(results, { color: true }).some((line) => line.includes("\u001b[31m")));
  t.is(summary([result("ok"), result("crash")]), "1 crash, 1 ok");
});

test("docs/doctor.md is what the checks say", async (t) => {
  const written = await readFile(new URL("../../docs/doctor.md", import.meta.url), "utf8");
  t.is(written, markdown(CHECKS), "run: npx tsx scripts/doctor-docs.ts");
});

test("the archive has results and facts, and neither names nor contents of configuration", async (t) => {
  const daemon = '{"proxies": {"http-proxy": "http://user:hunter2@proxy"}}';
  const context = await contextOf({
    ...HEALTHY,
    user: { uid: 1000, name: "annabella", groups: ["annabella", "kvm"] },
    files: { ...HEALTHY.files, "/etc/docker/daemon.json": daemon, "/etc/group": "kkm:x:9:annabella\n" },
  });
  const text = await bundleText(context, await runChecks(CHECKS, context));
  const read = JSON.parse(text) as { results: Result[]; facts: { kernel: { release: string } } };
  t.is(read.results.length, CHECKS.length);
  t.is(read.facts.kernel.release, "6.1.0-37-amd64");
  for (const secret of ["hunter2", "annabella", ...(hostname().length > 2 ? [hostname()] : [])]) {
    t.false(text.includes(secret), secret);
  }
});

test("secrets planted wherever an installation or a check looks are not in the archive", async (t) => {
  let planted = 0;
  const secret = () => `hunter2-${++planted}`;
  // Whole and broken: what is wrong with a file is told without quoting it.
  const configurations = (broken: string) => ({
    "/etc/docker/daemon.json": `{"proxies": {"http-proxy": "http://u:${secret()}@proxy"}${broken} "${secret()}`,
    "/etc/containerd/config.toml": `version = 2\n[plugins.registry]\npassword = "${secret()}"\n${broken} ${secret()}`,
    "/etc/containers/containers.conf.d/50-kontain.conf": `# ${secret()}\n`,
  });
  const hooks = Object.fromEntries(ETC_FILES.map((path) => [path, `# ${secret()}\n`]));
  for (const files of [configurations(""), configurations("\n, oops"), hooks]) {
    const context = await contextOf({
      ...HEALTHY,
      user: { uid: 1000, name: "annabella", groups: ["annabella"], sudo: "bertrand" },
      files: { ...HEALTHY.files, ...files },
      commands: {
        ...HEALTHY.commands,
        "docker --version": "Docker version 28.0.4, build b8034c0",
        "containerd --version": "containerd 1.7.27",
        "podman --version": "podman version 5.0.0",
      },
    });
    context.env = {
      PATH: "/usr/bin",
      AWS_SECRET_ACCESS_KEY: secret(),
      HTTPS_PROXY: `http://u:${secret()}@p`,
    };
    const text = await bundleText(context, await runChecks(CHECKS, context));
    for (const word of ["hunter2", "annabella", "bertrand"]) t.false(text.includes(word), word);
  }
  t.true(planted > 20, `${planted} secrets`);
});

const PROGRAM = new URL("../../src/cli/kontain.ts", import.meta.url).pathname;

function doctor(...args: string[]) {
  return execa(process.execPath, ["--import=tsx", PROGRAM, "doctor", ...args], {
    reject: false,
    stdin: "ignore",
    env: { GITHUB_TOKEN: "hunter2", HTTP_PROXY: "http://u:hunter2@localhost:1" },
  });
}

/** Runs the command and reads its JSON. */
async function results(t: ExecutionContext, ...args: string[]): Promise<Result[]> {
  const run = await doctor("--json", "--offline", ...args);
  t.is(run.stderr, "");
  const said = (JSON.parse(run.stdout) as { results: Result[] }).results;
  t.is(run.exitCode, exitStatus(said));
  return said;
}

test("on this machine: every check comes to a verdict, none crashes", async (t) => {
  const said = await results(t, "--prefix", "/nowhere");
  t.is(said.length, CHECKS.length);
  t.deepEqual(
    said.filter(({ verdict }) => verdict === "crash"),
    [],
  );
  t.like(
    said.find(({ id }) => id === "KKM-MON-001"),
    { verdict: "fail", evidence: "none in /nowhere" },
  );
});

test("--only takes ids and groups; --list lists; a wrong name is one line and status 2", async (t) => {
  const said = await results(t, "--prefix", "/nowhere", "--only", "KKM-CPU-001,kkm-mon");
  t.is(said[0]?.id, "KKM-CPU-001");
  t.true(said.slice(1).every(({ id }) => id.startsWith("KKM-MON-")) && said.length > 3);
  const list = await doctor("--list");
  t.is(list.stdout.split("\n").length, CHECKS.length);
  t.is(list.exitCode, 0);
  const wrong = await doctor("--only", "KKM-CPU-9");
  t.is(wrong.exitCode, 2);
  t.regex(wrong.stderr, /no check is named 'KKM-CPU-9'/);
});

test("--bundle writes an archive for its owner only", async (t) => {
  const path = join(await temporaryFolder(t), "report.json.gz");
  const run = await doctor("--offline", "--bundle", path, "--only", "KKM-CPU,KKM-MON-005");
  t.is(run.exitCode, 0, run.stderr);
  const text = gunzipSync(await readFile(path)).toString();
  for (const value of ["hunter2", hostname(), userInfo().username]) {
    if (value.length > 4) t.false(text.includes(value), value);
  }
  t.is((await stat(path)).mode & 0o777, 0o600);
  const read = JSON.parse(gunzipSync(await readFile(path)).toString()) as { results: Result[] };
  t.true(read.results.every(({ id }) => /^KKM-(CPU-|MON-005)/.test(id)));
});
