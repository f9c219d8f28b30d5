// SPDX-License-Identifier: Apache-2.0
// Limits by cgroup v2: here, where this process may make cgroups, else in the lab's guest, which has them and a /dev/kvm.
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import test from "ava";
import { Cgroup } from "../../src/monitor/cgroup.js";
import type { Ending } from "../../src/monitor/index.js";
import { openGuest, Unavailable } from "../lab/index.js";

const CHECKS = fileURLToPath(new URL("cgroup-checks.mjs", import.meta.url));
const SECONDS = 900;

const PROGRAMS: Record<string, string> = {
  hog: `#include <stdlib.h>
    #include <string.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
      if (argc > 1 && fork() != 0) for (;;) pause();
      for (;;) memset(malloc(1 << 20), 1, 1 << 20);
    }`,
  crash: "int main(void) { *(volatile int *)8 = 1; }",
  small: "int main(void) { return 7; }",
  spin: 'int main(void) { for (;;) __asm__ volatile(""); }',
  daemon: `#include <stdio.h>
    #include <unistd.h>
    int main(void) {
      if (fork() == 0) {
        setsid();
        if (fork() != 0) _exit(0);
        printf("%d\\n", getpid());
        fflush(stdout);
        close(0), close(1), close(2);
        for (;;) pause();
      }
      for (;;) pause();
    }`,
};

interface Check extends Ending {
  what: string;
  events: string[];
  output: string;
  /** memory.max of the groups there were. */
  limits: string[];
  /** Groups that are still there. */
  left: string[];
  alive?: boolean;
  gone?: boolean;
  directory?: string | null;
}

async function build(folder: string): Promise<void> {
  for (const [name, source] of Object.entries(PROGRAMS)) {
    await writeFile(join(folder, `${name}.c`), source);
    await promisify(execFile)("gcc", ["-O1", "-static", "-o", join(folder, name), join(folder, `${name}.c`)]);
  }
}

/** What the checks printed, and where they ran; or why they cannot run. */
async function checks(folder: string): Promise<{ text: string; where: string } | { skipped: string }> {
  const command = [process.execPath, CHECKS, folder];
  const env = Object.fromEntries(
    ["KONTAIN_KM", "KONTAIN_BUILD_DIR"].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  const here = await Cgroup.create(1 << 30);
  if (here) {
    await here.remove();
    const [program, ...args] = command as [string, ...string[]];
    const { stdout } = await promisify(execFile)(program, args, { timeout: SECONDS * 1000 });
    return { text: stdout, where: "here" };
  }
  try {
    const guest = await openGuest({ style: "root" });
    try {
      const { stdout, stderr, exitCode } = await guest.run(command, { env, timeoutSeconds: SECONDS });
      if (exitCode !== 0) throw new Error(`the checks ended with ${exitCode}: ${stdout}${stderr}`);
      return { text: stdout, where: "in the lab's guest" };
    } finally {
      await guest.close();
    }
  } catch (error) {
    if (error instanceof Unavailable) return { skipped: error.message };
    throw error;
  }
}

test("limits by cgroup v2 are the kernel's, and told apart from a crash", async (t) => {
  t.timeout(2 * SECONDS * 1000);
  const folder = await mkdtemp(join(tmpdir(), "kontain-cgroup-"));
  t.teardown(() => rm(folder, { recursive: true }));
  await build(folder);
  const done = await checks(folder);
  if ("skipped" in done) {
    t.log(`skipped: no cgroup v2 here that this process may use, and no guest: ${done.skipped}`);
    return t.pass();
  }
  t.log(`ran ${done.where}`);
  const seen = new Map(
    done.text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Check)
      .map((check) => [check.what, check]),
  );
  const limit = String(64 << 20);
  t.truthy(seen.get("place")?.directory, "a place for cgroups was found");
  t.true(seen.get("removed")?.gone);
  for (const what of ["hog", "forked hog"]) {
    t.like(seen.get(what), { reason: "memory", signal: "SIGKILL", limits: [limit], left: [] }, what);
    t.deepEqual(seen.get(what)?.events, ["started", "out-of-memory", "exited"], what);
  }
  t.like(seen.get("crash"), { reason: "signal", signal: "SIGSEGV", status: 139, limits: [limit], left: [] });
  t.like(seen.get("small"), { reason: "exited", exitCode: 7, left: [] });
  t.like(seen.get("spin"), { reason: "cpu", left: [] });
  t.like(seen.get("daemon"), { reason: "timeout", signal: "SIGKILL", alive: false, left: [] });
});
