// SPDX-License-Identifier: Apache-2.0
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { detectDevice } from "../../src/installer/detect/device.js";
import { detectPrefix } from "../../src/installer/detect/prefix.js";
import { runHello } from "../../src/installer/verify/hello.js";
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
