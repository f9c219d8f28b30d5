// SPDX-License-Identifier: Apache-2.0
// `lab selftest`: the lab must not pass what failed. Boots guests that panic, hang, warn and time out, and checks
// that each is told as what it is; then that the wire carries bytes, statuses and streams unharmed.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GuestError, messageOf } from "./errors.js";
import { type Guest, openGuest } from "./guest.js";
import { kernelById } from "./kernels.js";
import { projectRoot } from "./paths.js";
import { closingLine } from "./report.js";
import { runSuite } from "./run-suite.js";
import type { Suite } from "./suites.js";

const smallKernel = kernelById("6.1-cloud");

function suiteOf(name: string, timeoutSeconds = 60): Suite {
  const script = `test/lab/selftest/${name}.sh`;
  return { name, summary: name, style: "initramfs", cpus: 1, kvm: false, script, timeoutSeconds };
}

async function expectVerdict(
  name: string,
  outcome: string,
  reason: RegExp,
  timeoutSeconds?: number,
): Promise<void> {
  const result = await runSuite(suiteOf(name, timeoutSeconds), smallKernel, { keep: false });
  assert.equal(result.outcome, outcome);
  assert.match(result.reason ?? "", reason);
  if (outcome === "fail")
    assert.ok(result.consolePath && existsSync(result.consolePath), "the console is kept");
}

async function panicIsTold(): Promise<void> {
  const result = await runSuite(suiteOf("panic"), smallKernel, { keep: false });
  assert.equal(result.outcome, "fail");
  assert.match(result.reason ?? "", /the guest went down/);
  assert.match(readFileSync(result.consolePath ?? "", "utf8"), /sysrq triggered crash/);
}

async function lateBootIsTold(): Promise<void> {
  const opening = openGuest({ kernel: smallKernel.id, style: "initramfs", bootSeconds: 0.5 });
  await assert.rejects(
    opening,
    (error) => error instanceof GuestError && /did not come up/.test(error.message),
  );
}

async function missingMirrorSkips(): Promise<void> {
  const { KONTAIN_LAB_CACHE: cache, KONTAIN_LAB_MIRROR: mirror } = process.env;
  const directory = mkdtempSync(join(tmpdir(), "lab-selftest-"));
  Object.assign(process.env, {
    KONTAIN_LAB_CACHE: directory,
    KONTAIN_LAB_MIRROR: "http://127.0.0.1:9/debian",
  });
  try {
    const result = await runSuite(suiteOf("fail"), kernelById("6.12"), { keep: false });
    assert.equal(result.outcome, "skip");
    assert.match(result.reason ?? "", /apt-get.*trixie/);
  } finally {
    for (const [name, value] of Object.entries({ KONTAIN_LAB_CACHE: cache, KONTAIN_LAB_MIRROR: mirror })) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    rmSync(directory, { recursive: true });
  }
}

async function wireCarriesEverything(guest: Guest): Promise<void> {
  const bytes = randomBytes(3_000_000);
  const echoed = await guest.run(["cat"], { stdin: bytes });
  assert.ok(echoed.stdoutBytes.equals(bytes), "bytes come back as they went");
  const digest = createHash("sha256").update(bytes).digest("hex");
  assert.ok((await guest.run(["sha256sum"], { stdin: bytes })).stdout.startsWith(digest));
  assert.equal((await guest.run(["true"], { stdin: bytes })).exitCode, 0, "standard input nobody reads");
  assert.equal((await guest.run("head -c 20000000 /dev/zero | tr '\\0' x")).stdoutBytes.length, 20_000_000);
  const both = await guest.run("echo out; echo err >&2; exit 9", { env: { A: "1" } });
  assert.deepEqual([both.stdout, both.stderr, both.exitCode], ["out\n", "err\n", 9]);
}

async function statusesAreAShells(guest: Guest): Promise<void> {
  assert.equal((await guest.run(["/no/such/program"])).exitCode, 127);
  assert.equal((await guest.run(["/proc/version"])).exitCode, 126);
  assert.equal((await guest.run("kill -SEGV $$")).signal, 11);
  const background = await guest.run("sleep 1000 & echo started");
  assert.deepEqual([background.stdout, background.exitCode], ["started\n", 0]);
  assert.ok(background.seconds < 60, "a child in the background holds nobody");
  const late = await guest.run("sleep 1000", { timeoutSeconds: 1 });
  assert.ok(late.timedOut && late.signal === 9);
  assert.equal((await guest.run(["echo", "alive"])).stdout, "alive\n", "after a timeout the guest goes on");
}

async function hungGuestIsLost(guest: Guest): Promise<void> {
  const stopped = guest.run("sleep 1000", { timeoutSeconds: 2 });
  guest.suspend(); // the whole machine stands still, as in a lockup
  await assert.rejects(
    stopped,
    (error) => error instanceof GuestError && /does not answer/.test(error.message),
  );
  await assert.rejects(guest.run("true"), { name: "GuestError" });
}

async function sharesWork(): Promise<void> {
  const share = mkdtempSync(join(tmpdir(), "lab-selftest-"));
  const before = readFileSync(join(projectRoot, "package.json"), "utf8");
  const guest = await openGuest({ share });
  try {
    writeFileSync(join(share, "from-host"), "one");
    assert.equal(
      (await guest.run("cat $LAB_SHARE/from-host; echo two >$LAB_SHARE/from-guest")).stdout,
      "one",
    );
    assert.equal(readFileSync(join(share, "from-guest"), "utf8"), "two\n");
    writeFileSync(join(share, "from-host"), "three");
    assert.equal((await guest.run("cat $LAB_SHARE/from-host")).stdout, "three", "the share is not cached");
    await guest.run("echo broken >package.json", { cwd: projectRoot });
    assert.equal(readFileSync(join(projectRoot, "package.json"), "utf8"), before, "the checkout is safe");
  } finally {
    await guest.close();
    rmSync(share, { recursive: true });
  }
}

async function inOneGuest(checks: readonly ((guest: Guest) => Promise<void>)[]): Promise<void> {
  const guest = await openGuest({ kernel: smallKernel.id, style: "initramfs", kvm: false });
  try {
    for (const check of checks) await check(guest);
  } finally {
    await guest.close();
  }
}

const checks: readonly (readonly [string, () => Promise<void>])[] = [
  ["a failing script fails", () => expectVerdict("fail", "fail", /status 3: this is the last line/)],
  ["status 77 skips", () => expectVerdict("skip", "skip", /nothing to test here/)],
  ["a kernel warning fails", () => expectVerdict("warn", "fail", /kernel log: .*lab\/selftest/)],
  ["a script without end fails", () => expectVerdict("sleep", "fail", /limit of 3 s/, 3)],
  ["a panic fails", panicIsTold],
  ["a boot that takes too long fails", lateBootIsTold],
  ["a kernel that cannot be fetched is skipped", missingMirrorSkips],
  [
    "bytes, streams and statuses survive the wire",
    () => inOneGuest([wireCarriesEverything, statusesAreAShells]),
  ],
  ["a guest that hangs is given up", () => inOneGuest([hungGuestIsLost])],
  ["the share and the overlay", sharesWork],
];

/** @returns 0 when the lab is to be trusted */
export async function selftestCommand(): Promise<number> {
  let failed = 0;
  for (const [title, check] of checks) {
    const started = performance.now();
    const problem = await check().then(
      () => undefined,
      (error: unknown) => messageOf(error),
    );
    if (problem !== undefined) failed++;
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    process.stdout.write(`${problem === undefined ? "ok" : "not ok"} ${title} (${seconds} s)\n`);
    if (problem !== undefined) process.stdout.write(`  ${problem.replaceAll("\n", "\n  ")}\n`);
  }
  process.stdout.write(`${closingLine({ passed: checks.length - failed, failed, skipped: 0 })}\n`);
  return failed === 0 ? 0 : 1;
}
