// SPDX-License-Identifier: Apache-2.0
// The lab's formats and parsers, without a guest.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { unmetOptions } from "./built-kernel.js";
import { decodeStatus, encodeFrame, encodeRun, FrameReader, frame } from "./channel.js";
import { cpioArchive } from "./cpio.js";
import { kernelComplaints } from "./kernel-log.js";
import { debianMirrors, parseDeb822, parseOneLine } from "./mirrors.js";
import { moduleClosure, moduleDepends } from "./modules.js";
import { bzImagePayload } from "./vmlinux.js";

function scratch(): string {
  return mkdtempSync(join(tmpdir(), "lab-test-"));
}

test("frames survive any cut of the stream", (t) => {
  const stream = Buffer.concat([
    encodeFrame(frame.guestStdout, Buffer.from("hello")),
    encodeFrame(frame.guestStderr),
    encodeFrame(frame.guestExit, Buffer.from([3, 0, 0, 0])),
  ]);
  for (let size = 1; size <= stream.length; size++) {
    const reader = new FrameReader();
    const frames = [];
    for (let at = 0; at < stream.length; at += size)
      frames.push(...reader.push(stream.subarray(at, at + size)));
    t.deepEqual(
      frames.map(({ type, payload }) => [type, payload.toString("latin1")]),
      [
        [frame.guestStdout, "hello"],
        [frame.guestStderr, ""],
        [frame.guestExit, "\x03\0\0\0"],
      ],
    );
  }
});

test("a frame larger than the protocol allows is refused", (t) => {
  t.throws(() => new FrameReader().push(Buffer.from([0xff, 0xff, 0xff, 0xff, 17])), {
    message: /4294967295 bytes/,
  });
});

test("a run frame counts arguments and variables apart", (t) => {
  const payload = encodeRun("/src", ["ls", "-l"], { A: "1" });
  t.is(payload.readUInt16LE(0), 2);
  t.is(payload.readUInt16LE(2), 1);
  t.is(payload.toString("latin1", 4), "/src\0ls\0-l\0A=1\0");
  t.throws(() => encodeRun("/", ["a\0b"], {}), { message: /NUL/ });
});

test("wait statuses read as a shell says them", (t) => {
  t.deepEqual(decodeStatus(0), { exitCode: 0, signal: undefined });
  t.deepEqual(decodeStatus(7 << 8), { exitCode: 7, signal: undefined });
  t.deepEqual(decodeStatus(11 | 0x80), { exitCode: 139, signal: 11 });
});

test("a cpio archive reads back as the kernel reads it", (t) => {
  const archive = cpioArchive([
    { path: "lab/modules/a.ko", mode: 0o644, data: Buffer.from("odd") },
    { path: "init", mode: 0o755, data: Buffer.alloc(4097, 7) },
  ]);
  t.is(archive.toString("latin1", 0, 6), "070701");
  t.is(archive.length % 4, 0);
  const seen: string[] = [];
  for (let at = 0; at < archive.length; ) {
    const field = (index: number) =>
      Number.parseInt(archive.toString("latin1", at + 6 + index * 8, at + 14 + index * 8), 16);
    const [mode, size, nameSize] = [field(1), field(6), field(11)];
    const nameAt = at + 110;
    seen.push(`${archive.toString("latin1", nameAt, nameAt + nameSize - 1)} ${mode.toString(8)} ${size}`);
    const dataAt = (nameAt + nameSize + 3) & ~3;
    at = (dataAt + size + 3) & ~3;
  }
  t.deepEqual(seen, [
    "lab 40755 0",
    "lab/modules 40755 0",
    "lab/modules/a.ko 100644 3",
    "init 100755 4097",
    "TRAILER!!! 0 0",
  ]);
});

const oneLine = `# comment
deb [arch=amd64 signed-by=/keys/debian.gpg] http://mirror.test/debian bookworm main contrib
deb-src http://mirror.test/debian bookworm main
deb http://other.test/apt stable-tool main
deb http://mirror.test/security bookworm-security main
`;

const deb822 = `Types: deb
# a comment
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.test/security
Suites: bookworm-security
Enabled: no
`;

test("apt sources of both styles are read", (t) => {
  t.deepEqual(
    parseOneLine(oneLine).map(({ uri, suites }) => [uri, ...suites]),
    [
      ["http://mirror.test/debian", "bookworm"],
      ["http://other.test/apt", "stable-tool"],
      ["http://mirror.test/security", "bookworm-security"],
    ],
  );
  t.is(parseOneLine(oneLine)[0]?.signedBy, "/keys/debian.gpg");
  t.deepEqual(
    parseDeb822(deb822).map(({ uri, suites }) => [uri, ...suites]),
    [["http://mirror.test/debian", "bookworm", "bookworm-updates"]],
  );
});

test.serial("mirrors come from the host's apt; without a Debian one the lab says what to set", (t) => {
  const etc = scratch();
  const keyring = join(etc, "debian.gpg");
  writeFileSync(keyring, "");
  mkdirSync(join(etc, "sources.list.d"));
  writeFileSync(join(etc, "sources.list"), "deb http://archive.test/ubuntu noble main\n");
  t.throws(() => debianMirrors(etc), { name: "Unavailable", message: /KONTAIN_LAB_MIRROR/ });
  writeFileSync(join(etc, "sources.list.d/debian.list"), oneLine.replace("/keys/debian.gpg", keyring));
  t.deepEqual(debianMirrors(etc), {
    main: "http://mirror.test/debian",
    security: "http://mirror.test/security",
    keyring,
  });
  writeFileSync(
    join(etc, "sources.list.d/debian.list"),
    `deb [signed-by=${keyring}] http://mirror.test/debian/ sid main\n`,
  );
  process.env.KONTAIN_LAB_MIRROR = "http://mine.test/debian/";
  try {
    const found = debianMirrors(etc);
    t.deepEqual(
      [found.main, found.security],
      ["http://mine.test/debian/", "http://mine.test/debian-security"],
    );
  } finally {
    delete process.env.KONTAIN_LAB_MIRROR;
    rmSync(etc, { recursive: true });
  }
});

function fakeModule(depends: string): Buffer {
  return Buffer.from(`\x7fELF\0license=GPL\0depends=${depends}\0name=x\0`, "latin1");
}

test("modules load after what they need, builtins are left out, a missing one is named", async (t) => {
  const directory = scratch();
  mkdirSync(join(directory, "kernel/net"), { recursive: true });
  const write = (name: string, depends: string) =>
    writeFileSync(join(directory, "kernel/net", name), fakeModule(depends));
  write("top-one.ko", "middle,built");
  write("middle.ko", "base_two");
  write("base-two.ko", "");
  execFileSync("xz", [join(directory, "kernel/net/base-two.ko")]);
  writeFileSync(join(directory, "modules.builtin"), "kernel/lib/built.ko\n");
  t.deepEqual(moduleDepends(fakeModule("a,b_c")), ["a", "b_c"]);
  const closure = await moduleClosure(directory, ["top_one", "middle"]);
  t.deepEqual(
    closure.map(({ name }) => name),
    ["base_two", "middle", "top_one"],
  );
  t.true(closure[0]?.data.equals(fakeModule("")));
  await t.throwsAsync(moduleClosure(directory, ["absent"]), { message: /no module absent/ });
  rmSync(directory, { recursive: true });
});

test("kernel logs: splats are complaints, advice is not", (t) => {
  const splats = [
    "[    1.0] WARNING: CPU: 0 PID: 1 at kernel/fork.c:1 foo+0x1/0x2",
    "[    1.0] BUG: kernel NULL pointer dereference, address: 0000000000000000",
    "[    1.0] Oops: 0002 [#1] PREEMPT SMP",
    "[    1.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [x:1]",
    "[    1.0] rcu: INFO: rcu_preempt self-detected stall on CPU",
    "[    1.0] WARNING: possible circular locking dependency detected",
  ];
  const fine = [
    "[    0.1] Speculative Return Stack Overflow: WARNING: See https://kernel.org/doc/html/latest/admin-guide/hw-vuln/srso.html for mitigation options.",
    "[    0.1] [Firmware Bug]: TSC ADJUST differs within socket(s), fixing all errors",
    "[    0.1] Linux version 6.1.0 (debian-kernel@lists.debian.org)",
    "[    0.0] Kernel command line: rcupdate.rcu_cpu_stall_timeout=60 oops=panic BUG: x",
    "[    0.1] Run /init as init process",
  ];
  t.deepEqual(kernelComplaints([...splats, ...fine].join("\n")), splats);
});

test("the OOM killer's report is a complaint unless the suite is about it; what follows always is", (t) => {
  const report = [
    "[    2.0] kkm-oom invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
    "[    2.0] Call Trace:",
    "[    2.0]  dump_header+0x4a/0x200",
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),task=kkm-oom,pid=1,uid=0",
    "[    2.1] Memory cgroup out of memory: Killed process 1 (kkm-oom)",
  ];
  const splat = "[    3.0] Call Trace:";
  t.deepEqual(kernelComplaints(report.join("\n")), [report[1]]);
  t.deepEqual(kernelComplaints([...report, splat, ...report].join("\n"), true), [splat]);
});

test("options a kernel configuration did not take are named", (t) => {
  const config = "#\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_N=8\n";
  const fragment = "# comment\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_C=n\nCONFIG_D=n\nCONFIG_N=8\nCONFIG_E=y\n";
  t.deepEqual(unmetOptions(fragment, config), ["CONFIG_B=y", "CONFIG_E=y"]);
  t.deepEqual(unmetOptions("CONFIG_A=n\n", config), ["CONFIG_A=n"]);
});

test("only a bzImage has a payload", (t) => {
  t.is(bzImagePayload(Buffer.alloc(100)), undefined);
  t.is(bzImagePayload(Buffer.alloc(4096)), undefined);
  const image = Buffer.alloc(4096);
  image.write("HdrS", 0x202, "latin1");
  image.writeUInt8(1, 0x1f1);
  image.writeUInt32LE(16, 0x248);
  image.writeUInt32LE(12, 0x24c);
  image.write("abcdefgh", 1024 + 16, "latin1");
  t.is(bzImagePayload(image)?.toString("latin1"), "abcdefgh");
  image.writeUInt32LE(1 << 20, 0x24c);
  t.is(bzImagePayload(image), undefined);
});
