// SPDX-License-Identifier: Apache-2.0
// Every answered system call gives under km what it gives natively; every refused one what the table says.
import test from "ava";
import { readTable } from "../../scripts/gen-syscalls.mjs";
import { COMPARED, native, payload, ROOT, run, tracedNames, underKm } from "./payloads.js";

/** Answered calls that no compared payload makes, and why. */
const NOT_COMPARED: Record<string, string> = {
  km_unmapself: "reached through the hypercall ports only; test/payloads/hypercall",
};

const table = readTable();
const seen = new Set<string>();

for (const name of COMPARED) {
  test.serial(`${name}: under km as natively`, async (t) => {
    const expected = await native(name);
    const actual = await underKm(name, [], ["--trace=all"]);
    for (const call of tracedNames(actual.log)) seen.add(call);
    t.deepEqual(actual.stdout.split("\n"), expected.stdout.split("\n"));
    t.is(actual.status, expected.status);
    t.is(actual.stderr, expected.stderr);
    t.true(expected.stdout.split("\n").length > 20, "the payload printed what it did");
  });
}

test.serial("every answered call of the table was compared", (t) => {
  const answered = table.filter((call) => call.class === "implemented" || call.class === "forwarded");
  const missing = answered
    .map((call) => call.name)
    .filter((name) => !seen.has(name) && !(name in NOT_COMPARED));
  t.deepEqual(missing, []);
  t.true(answered.length >= 230);
});

test.serial("refused and absent calls give the table's error", async (t) => {
  const refused = table.filter((call) => call.class === "refused" || call.class === "absent");
  const { stdout, status, log } = await underKm(
    "numbers",
    refused.map((call) => String(call.nr)),
  );
  t.is(status, 0);
  t.deepEqual(
    stdout.trim().split("\n"),
    refused.map((call) => `${call.nr} ${call.error}`),
  );
  for (const call of refused) t.is(log.includes(`system call ${call.name} (`), !call.quiet, call.name);
});

test.serial("numbers without a call are ENOSYS and named once", async (t) => {
  const numbers = ["400", "472", "1000", "1000", "-1", "4294967296"];
  const { stdout, log } = await underKm("numbers", numbers);
  const answers = stdout.trim().split("\n");
  t.deepEqual(
    answers.slice(0, 5),
    numbers.slice(0, 5).map((number) => `${number} ENOSYS`),
  );
  t.true(answers[5]?.startsWith("4294967296 "), "only the low half of the register counts, as on Linux");
  t.is(log.match(/system call 400 is unknown/g)?.length, 1);
  t.is(log.match(/system call 1000 is unknown/g)?.length, 1);
});

test.serial("--kill-unimpl-scall ends the program with SIGSYS", async (t) => {
  t.is((await underKm("numbers", ["400"], ["--kill-unimpl-scall"])).status, "SIGSYS");
  t.is(
    (await underKm("numbers", ["334", "39"], ["--kill-unimpl-scall"])).status,
    0,
    "probing is not punished",
  );
});

test.serial("a program sees itself, not the monitor, and reaches no memory of it", async (t) => {
  const program = await payload("itself");
  const { stdout, status } = await underKm("itself", [program]);
  t.deepEqual(
    stdout.split("\n").filter((line) => line.startsWith("FAIL")),
    [],
  );
  t.is(status, 0, stdout);
});

test.serial("--trace shows calls of the classes asked for, decoded", async (t) => {
  const { log } = await underKm("files", [], ["--trace=file,!chmod,write"]);
  const names = tracedNames(log);
  t.true(names.has("openat") && names.has("write") && names.has("mkdir"));
  t.false(names.has("read") || names.has("mmap") || names.has("chmod"));
  t.regex(log, /openat\(AT_FDCWD, "missing", O_RDONLY\) = -1 ENOENT \(No such file or directory\)\n/);
  t.regex(log, /openat\(AT_FDCWD, "a", O_WRONLY\|O_CREAT\|O_EXCL, 0600\) = -1 EEXIST/);
  t.regex(log, /write\(3, "hello", 5\) = 5\n/);
  t.regex(log, /unlinkat\(AT_FDCWD, "d\/e", AT_REMOVEDIR\) = 0\n/);
  const wrong = await underKm("numbers", [], ["--trace=nonsense"]);
  t.is(wrong.status, 1);
  t.regex(wrong.stderr, /^km: .*'nonsense'.*\n$/);
});

test.serial("--trace decodes messages, times, signals and flags", async (t) => {
  const net = await underKm("net", [], ["--trace=net"]);
  t.regex(net.log, /socket\(AF_INET, SOCK_STREAM\|SOCK_CLOEXEC, 0\) = 3\n/);
  t.regex(net.log, /connect\(4, \{AF_INET, 127\.0\.0\.1:\d+\}, 16\) = 0\n/);
  t.regex(net.log, /recvfrom\(5, "ping", 16, 0, NULL, NULL\) = 4\n/);
  t.regex(net.log, /bind\(3, \{AF_UNIX, "socket"\}, 110\) = 0\n/);
  const signals = await underKm("signals", [], ["--trace=signal,process"]);
  t.regex(signals.log, /kill\(\d+, SIGUSR1\) = 0\n/);
  t.regex(signals.log, /exit_group\(0\) = \?\n/);
  const times = await underKm("times", [], ["--trace=time"]);
  t.regex(times.log, /nanosleep\(\{0\.020000000s\}, [^)]*\) = 0\n/);
  t.regex(times.log, /clock_gettime\(CLOCK_MONOTONIC, \{\d+\.\d{9}s\}\) = 0\n/);
});

test.serial("-S counts calls, errors and time", async (t) => {
  const { log } = await underKm("numbers", ["39", "39", "39", "400"], ["-S"]);
  t.regex(log, /calls +errors +total us +us\/call +system call\n/);
  t.regex(log, / 3 +0 +[\d.]+ +[\d.]+ +getpid\n/);
  t.regex(log, / 1 +1 +[\d.]+ +[\d.]+ +unknown\n/);
});

test("docs/syscalls.md is what the table says", async (t) => {
  const { status, stderr } = await run(process.execPath, ["scripts/gen-syscalls.mjs", "--check"], ROOT);
  t.is(status, 0, stderr);
});
