// SPDX-License-Identifier: Apache-2.0
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { realHost } from "../../src/base/host.js";
import { detectDevice, lookAtDevice } from "../../src/installer/detect/device.js";
import { detectEngines } from "../../src/installer/detect/engines.js";
import { askType } from "../../src/installer/detect/machine.js";
import { detectPrefix } from "../../src/installer/detect/prefix.js";
import { detectSecurity, KEY_PLACES } from "../../src/installer/detect/security.js";
import { detectContainer } from "../../src/installer/detect/system.js";
import { runHello } from "../../src/installer/verify/hello.js";
import { type HostDescription, hostOf } from "../fixtures/described-host.js";
import { bundleFile, temporaryFolder } from "./fixtures.js";

test("devices: absent, not a device, and one on which nothing can run", async (t) => {
  const folder = await temporaryFolder(t);
  t.like(await detectDevice(join(folder, "none")), { state: "absent" });
  await writeFile(join(folder, "file"), "");
  t.like(await detectDevice(join(folder, "file")), { state: "other" });
  t.like(await detectDevice("/dev/null"), { state: "broken" });
  const proof = { monitor: "/bin/false", hello: "hello" };
  t.like(await detectDevice("/dev/null", proof), { state: "broken", evidence: "exit status 1" });
});

test("a monitor is believed only for exactly what the payload prints", async (t) => {
  const folder = await temporaryFolder(t);
  const monitor = join(folder, "km");
  const script = async (body: string) => {
    await writeFile(monitor, `#!/bin/sh\n${body}\n`);
    await chmod(monitor, 0o755);
    return runHello(monitor, "hello", "/dev/x");
  };
  const good = "printf 'Hello, world\\nargument 1: Hello\\nargument 2: World\\n'";
  t.like(await script(good), { works: true, problem: "" });
  t.like(await script(`${good}; exit 3`), { works: false, problem: "exit status 3" });
  t.like(await script("echo Hello"), { works: false });
  t.like(await script("echo first >&2; echo why >&2; exit 1"), { works: false, problem: "why" });
  t.like(await script("kill -SEGV $$"), { works: false, problem: "killed by SIGSEGV" });
  t.like(await runHello(join(folder, "none"), "hello", "/dev/x"), { works: false });
});

test("a prefix: absent, a file in its way, files of others in it", async (t) => {
  const folder = await temporaryFolder(t);
  const files = [bundleFile("bin/km")];
  const absent = await detectPrefix(join(folder, "a/b"), files);
  t.like(absent, { state: "writable" });
  t.deepEqual(absent.targets, [{ target: "bin/km", state: "absent" }]);

  await writeFile(join(folder, "file"), "");
  t.is((await detectPrefix(join(folder, "file/sub"), files)).state, "not-a-folder");
  t.is((await detectPrefix(join(folder, "file"), files)).state, "not-a-folder");

  await mkdir(join(folder, "p/bin"), { recursive: true });
  await writeFile(join(folder, "p/bin/km"), "other");
  t.is((await detectPrefix(join(folder, "p"), files)).targets[0]?.state, "foreign");
  await mkdir(join(folder, "q/bin/km"), { recursive: true });
  t.is((await detectPrefix(join(folder, "q"), files)).targets[0]?.state, "not-a-file");
});

/** A metadata service of the test's own; returns its address. */
async function service(t: ExecutionContext, answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => server.closeAllConnections());
  t.teardown(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("a guest that ended otherwise than it should leaves the verdict to the payload; one that cannot be made does not", async (t) => {
  const device = { type: "character", mode: 0o660, owner: "root", group: "kkm" } as const;
  const host = { ...(await realHost()), stat: async () => device, tryOpen: async () => undefined };
  const state = async (problem: string, works: boolean) => {
    const { state, evidence } = await lookAtDevice(host, "/dev/kkm", {
      guest: async (path) => ({ path, usable: false, problem }),
      payload: async () => ({ works, stdout: "Hello, world\n", problem: "killed by SIGSEGV" }),
    });
    return `${state}: ${evidence}`;
  };
  t.is(await state("KVM_RUN: ERR_KM_PROOF", true), "works: Hello, world");
  t.is(await state("KVM_RUN: ERR_KM_PROOF", false), "broken: killed by SIGSEGV");
  t.is(await state("KVM_CREATE_VM: EBUSY", true), "broken: no guest runs: KVM_CREATE_VM: EBUSY");
});

test("a metadata service with a token: asked for it first, answered with it after", async (t) => {
  const seen: string[] = [];
  const url = await service(t, ({ method, url: path, headers }, response) => {
    seen.push(`${method} ${path}`);
    if (path === "/token" && headers.ttl === "60") return response.end("secret\n");
    response.statusCode = headers.token === "secret" ? 200 : 401;
    response.end("t2.micro");
  });
  const token = { url: `${url}/token`, headers: { ttl: "60" }, header: "token" };
  const host = await realHost();
  t.is(await askType(host, { url: `${url}/type`, token }), "t2.micro");
  t.deepEqual(seen, ["PUT /token", "GET /type"]);
  t.is(await askType(host, { url: `${url}/type` }), undefined, "refused without it");
});

test("a metadata service that is silent, endless, or not there says nothing", async (t) => {
  const host = await realHost();
  const silent = await service(t, () => {});
  t.is(await host.ask(silent, { timeout: 200 }), undefined);
  const endless = await service(t, (_, response) => {
    const more = () => response.write("x".repeat(10_000), more);
    more();
  });
  t.is(await host.ask(endless, { timeout: 20_000 }), undefined);
  t.is(await host.ask("http://127.0.0.1:1/", { timeout: 20_000 }), undefined);
});

test("the real machine answers through the same door", async (t) => {
  const host = await realHost();
  t.is(await host.readFile("/no/such/file"), undefined);
  t.is(await host.readDir("/no/such/folder"), undefined);
  t.like(await host.stat("/"), { type: "folder", owner: "root" });
  t.like(await host.stat("/dev/null"), { type: "character" });
  t.is(await host.tryOpen("/dev/null"), undefined);
  t.is(await host.tryOpen("/no/such/file"), "ENOENT");
  t.like(await host.run("sh", "-c", "echo said; exit 3"), { status: 3, stdout: "said" });
  t.is(await host.run("no-such-program-here"), undefined);
  t.regex((await host.which("sh")) ?? "", /\/sh$/);
});

/** A host with these files and nothing else. */
const withFiles = (files: Record<string, string>, more: Partial<HostDescription> = {}) =>
  hostOf({ about: "", release: "6.1.0", files, facts: {}, plan: { device: "", runs: [] }, ...more });

test("every mark of a container is known; without one, and in the machine's own namespaces, it is none", async (t) => {
  const marks: [Record<string, string>, string | null][] = [
    [{}, null],
    [{ "/run/systemd/container": "systemd-nspawn\n" }, "systemd-nspawn"],
    [{ "/run/secrets/kubernetes.io/serviceaccount/token": "" }, "kubernetes"],
    [{ "/.dockerenv": "" }, "docker"],
    [{ "/run/.containerenv": "" }, "podman"],
    [{ "/proc/1/environ": "PATH=/bin\0container=lxc\0" }, "lxc"],
    [{ "/proc/1/cgroup": "1:cpu:/docker/0123\n" }, "docker"],
    [{ "/proc/1/cgroup": "0::/kubepods.slice/x\n" }, "kubernetes"],
    [{ "/proc/1/cgroup": "0::/machine.slice/libpod-1.scope\n" }, "podman"],
    [{ "/proc/1/cgroup": "0::/lxc/name\n" }, "lxc"],
    [{ "/proc/1/cgroup": "0::/init.scope\n" }, null],
  ];
  const links = {
    "/proc/self/ns/pid": "pid:[4026531836]",
    "/proc/self/ns/cgroup": "cgroup:[4026531835]",
  };
  for (const [files, wanted] of marks) {
    t.is(await detectContainer(withFiles(files)), wanted, JSON.stringify(files));
    t.is(await detectContainer(withFiles(files, { links })), null, "the machine's own namespaces");
  }
});

test("docker: how it was installed, by where it is and what is beside it", async (t) => {
  const kind = async (files: Record<string, string>, more: Partial<HostDescription> = {}) => {
    const programs = { docker: "", ...more.programs };
    return (await detectEngines(withFiles(files, { ...more, programs }))).docker?.how;
  };
  const anna = { uid: 1000, name: "anna", groups: ["anna"] };
  const both = { user: anna, programs: { dockerd: "" } };
  t.is(await kind({}), "package");
  t.is(await kind({ "/opt/docker-desktop/bin/x": "" }), "desktop");
  t.is(await kind({ "/mnt/wsl/docker-desktop/cli": "" }), "desktop");
  t.is(await kind({}, { programs: { docker: "/snap/bin/docker" } }), "snap");
  t.is(await kind({}, { links: { "/usr/bin/docker": "/usr/bin/snap" } }), "snap");
  t.is(await kind({ "/run/user/1000/docker.sock": "" }, both), "rootless");
  t.is(await kind({ "/home/anna/.config/docker/daemon.json": "{}" }, both), "rootless");
  t.is(await kind({ "/run/user/1000/docker.sock": "", "/run/docker.sock": "" }, both), "package");
  t.is((await detectEngines(withFiles({}))).docker, null);
});

test("SELinux, AppArmor, and a key in each of the places where one is kept", async (t) => {
  const files: Record<string, string> = {};
  t.like(await detectSecurity(withFiles(files)), { selinux: "absent", apparmor: false, key: null });
  t.is((await detectSecurity(withFiles({ "/etc/selinux/config": "" }))).selinux, "disabled");
  t.is((await detectSecurity(withFiles({ "/sys/fs/selinux/enforce": "0" }))).selinux, "permissive");
  t.is((await detectSecurity(withFiles({ "/sys/fs/selinux/enforce": "1" }))).selinux, "enforcing");
  t.true((await detectSecurity(withFiles({ "/sys/module/apparmor/parameters/enabled": "Y\n" }))).apparmor);
  for (const { privateKey, certificate } of KEY_PLACES) {
    const pair = { [privateKey]: "", [certificate]: "" };
    const said = (words: string) => ({ commands: { [`mokutil --test-key ${certificate}`]: words } });
    const enrolled = async (more = {}) => (await detectSecurity(withFiles(pair, more))).key;
    t.deepEqual(await enrolled(), { privateKey, certificate, enrolled: null });
    t.true((await enrolled(said(`${certificate} is already enrolled\n`)))?.enrolled);
    t.false((await enrolled(said(`${certificate} is not enrolled\n`)))?.enrolled);
    t.is((await detectSecurity(withFiles({ [certificate]: "" }))).key, null, "half a pair");
  }
});
