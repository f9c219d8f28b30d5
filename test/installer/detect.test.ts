// SPDX-License-Identifier: Apache-2.0
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { parseCpu, parseKernel, parseOsRelease } from "../../src/installer/detect/detect.js";
import { detectDevice } from "../../src/installer/detect/device.js";
import { detectPrefix } from "../../src/installer/detect/prefix.js";
import { runHello } from "../../src/installer/verify/hello.js";
import { bundleFile, temporaryFolder } from "./fixtures.js";

test("kernel releases of distributions, clouds and release candidates", (t) => {
  t.like(parseKernel("6.1.0-18-cloud-amd64"), { major: 6, minor: 1 });
  t.like(parseKernel("5.10.226-214.880.amzn2.x86_64"), { major: 5, minor: 10 });
  t.like(parseKernel("7.0-rc3"), { major: 7, minor: 0 });
  t.like(parseKernel("nonsense"), { major: 0, minor: 0, release: "nonsense" });
});

test("os-release with and without quotes, and without a version", (t) => {
  const debian = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n';
  t.deepEqual(parseOsRelease(debian), {
    id: "debian",
    version: "12",
    name: "Debian GNU/Linux 12 (bookworm)",
  });
  t.deepEqual(parseOsRelease("ID='arch'\n"), { id: "arch", version: "", name: "unknown" });
  t.deepEqual(parseOsRelease(""), { id: "unknown", version: "", name: "unknown" });
});

test("the processor's virtualization is read from whole flags", (t) => {
  const cpu = (flags: string) =>
    parseCpu(`processor\t: 0\nmodel name\t: X\nflags\t\t: ${flags}\n\nprocessor\t: 1\n`);
  t.deepEqual(cpu("fpu vmx sse"), { model: "X", virtualization: "vmx" });
  t.is(cpu("fpu svm_lock").virtualization, "none");
  t.is(cpu("svm").virtualization, "svm");
});

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
