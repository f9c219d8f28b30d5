// SPDX-License-Identifier: Apache-2.0
// A host that does not give what km needs: devices, memory, descriptors, standard streams, argument space.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { find } from "../helpers/commands.js";
import { copiesForAll, inScratch, KM } from "../helpers/paths.js";
import { buildPayloads, payload } from "../helpers/payloads.js";
import { ENVIRONMENT, here } from "../helpers/place.js";
import { refused, trial } from "./tidy.js";

await buildPayloads();
const HELLO = payload("hello/static-musl");
const NO_DEVICE = 1;
const root = process.getuid?.() === 0;

type Body = (t: ExecutionContext) => Promise<void>;

/** A test that needs something of the host, skipped with the reason where it is not there. */
const needs = (reason: string | undefined) => (title: string, body: Body) => {
  if (reason === undefined) test(title, body);
  else test.skip(`${title} (${reason})`, body);
};

test("a device that is not there", async (t) => {
  refused(
    t,
    await trial({ args: ["-F", "/no/such/device", HELLO] }),
    NO_DEVICE,
    /\/no\/such\/device is not there/,
  );
});

test("a device of another kind", async (t) => {
  const verdict = await trial({ args: ["-F", "/dev/null", HELLO] });
  refused(t, verdict, NO_DEVICE, /\/dev\/null is not a virtualization device/);
});

test("a file instead of a device", async (t) => {
  refused(
    t,
    await trial({ args: ["-F", HELLO, HELLO] }),
    NO_DEVICE,
    /static-musl is not a virtualization device/,
  );
});

const privileged = needs(root ? undefined : "needs root");

privileged("no device at all", async (t) => {
  const wrap = (km: readonly string[]) => [
    "unshare",
    "-m",
    "sh",
    "-c",
    'mount -t tmpfs none /dev && exec "$@"',
    "sh",
    ...km,
  ];
  const verdict = await trial({ args: [HELLO], wrap });
  refused(
    t,
    verdict,
    NO_DEVICE,
    /no virtualization device: none of \/dev\/kontain, \/dev\/kvm, \/dev\/kkm.*install KKM/,
  );
});

privileged("a device without permission", async (t) => {
  await inScratch(async (directory) => {
    // Where another user can reach them, beside a device that user cannot open.
    const [km = "", hello = ""] = copiesForAll(directory, [KM, HELLO]);
    const nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    const script = 'mount -t tmpfs none /dev && mknod -m 600 /dev/kvm c 10 232 && exec setpriv "$@"';
    const wrap = () => ["unshare", "-m", "sh", "-c", script, "sh", ...nobody, km, hello];
    const verdict = await trial({ args: [], wrap });
    refused(t, verdict, NO_DEVICE, /no permission for \/dev\/kvm; add yourself to the group/);
  });
});

const traced = needs(find("strace") ? undefined : "not installed: strace");

traced("a device that is busy", async (t) => {
  const options = { env: { ...ENVIRONMENT }, extendEnv: false, reject: false } as const;
  const listed = await execa("strace", ["-f", "-e", "trace=ioctl", KM, HELLO], options);
  const calls = listed.stderr.split("\n").filter((line) => line.includes("ioctl("));
  const which = calls.findIndex((line) => line.includes("KVM_CREATE_VM")) + 1;
  t.true(which > 0, "km makes a virtual machine");
  const inject = ["-f", "-o", "/dev/null", "-e", `inject=ioctl:error=EBUSY:when=${which}`];
  const verdict = await trial({ args: [HELLO], wrap: (km) => ["strace", ...inject, ...km] });
  refused(t, verdict, NO_DEVICE, /is busy: another hypervisor.*stop it/);
});

test("too little address space for the monitor", async (t) => {
  const verdict = await trial({ args: [HELLO], wrap: (km) => ["prlimit", "--as=200000000", ...km] });
  refused(t, verdict, NO_DEVICE, /memory.*ulimit -v/);
});

test("too few descriptors for the monitor", async (t) => {
  const verdict = await trial({ args: [HELLO], wrap: (km) => ["prlimit", "--nofile=6", ...km] });
  refused(t, verdict, NO_DEVICE, /ulimit -n/);
});

test("a payload that runs out of memory is told so", async (t) => {
  const wrap = (km: readonly string[]) => ["prlimit", "--as=6000000000", ...km];
  const verdict = await trial({ args: [payload("bad/hog")], wrap, seconds: 240 });
  t.is(verdict.stdout, "refused with Cannot allocate memory, some were given 1\n");
  t.is(verdict.status, 12, verdict.stderr);
  t.deepEqual(verdict.left, []);
});

for (const closed of ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"]) {
  test(`started with ${closed}`, async (t) => {
    const seen = (command: readonly string[]) =>
      inScratch(async (cwd) => {
        const script = `exec "$@" ${closed}`;
        const outcome = await here.run({ command: ["sh", "-c", script, "sh", ...command], cwd, seconds: 60 });
        return { status: outcome.status, report: readFileSync(join(cwd, "report"), "utf8") };
      });
    const program = [payload("bad/descriptors_open"), "report"];
    const native = await seen(program);
    t.is(native.status, 0);
    t.deepEqual(await seen([KM, "-k", "none", ...program]), native);
  });
}

test("as many arguments as the kernel takes", async (t) => {
  const words = Array.from({ length: 18 }, (_, i) => String(i).padStart(100_000, "x"));
  const native = await here.run({ command: [HELLO, ...words], cwd: "/", seconds: 60 });
  t.is(native.status, 0);
  const km = await here.run({ command: [KM, "-k", "none", HELLO, ...words], cwd: "/", seconds: 60 });
  t.is(km.stderr, "");
  t.is(km.status, 0);
  t.true(km.stdout.equals(native.stdout));
});

test("ten megabytes of arguments", async (t) => {
  // More than any kernel takes: the payload's own exec is refused with the same error as natively.
  const script = `
    my @words = ("x" x 100_000) x 100;
    exec { "/bin/true" } "true", @words or print "refused: $!\\n"; exit 5`;
  const program = [find("perl") ?? "perl", "-e", script];
  const native = await here.run({ command: program, cwd: "/", seconds: 60 });
  const km = await here.run({ command: [KM, "-k", "none", ...program], cwd: "/", seconds: 60 });
  t.is(native.stdout.toString(), "refused: Argument list too long\n");
  t.deepEqual({ ...km, stdout: km.stdout.toString() }, { ...native, stdout: native.stdout.toString() });
});

test("the monitor is killed", async (t) => {
  const script = '"$@" & sleep 1; kill -KILL $!; wait $!; echo "status $?"';
  const verdict = await trial({
    args: ["-k", "none", "/bin/sleep", "100"],
    wrap: (km) => ["sh", "-c", script, "sh", ...km],
  });
  t.is(verdict.stdout, "status 137\n");
  t.deepEqual(verdict.left, []);
});
