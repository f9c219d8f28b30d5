// SPDX-License-Identifier: Apache-2.0
// No rule of the seccomp filter is redundant: every call it lets through is made on the host, by the monitor itself or
// for a payload that makes each call of the table. A rule that nothing needs is a door left open.
import { accessSync, constants, existsSync, mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { readTable } from "../../scripts/gen-syscalls.mjs";
import { inScratch, KM, payload, ROOT, run } from "./payloads.js";

/** Together these make every answered call of the table (syscalls.test.ts). */
const PAYLOADS = ["files", "desc", "memory", "process", "signals", "times", "net", "ipc", "admin"];

/** `when` of the rows of own.def that are needed on this device. */
const HERE = new Set(["kAlways", "kBirth"]);

const table = readTable();

interface Row {
  readonly macro: string;
  readonly name: string;
  readonly when: string;
}

function ownRows(): Row[] {
  const text = readFileSync(join(ROOT, "native/confine/own.def"), "utf8");
  return [...text.matchAll(/^(\w+)\((\w+), (\w+),/gm)].map(([, macro = "", name = "", when = ""]) => {
    return { macro, name, when };
  });
}

function strace(): string | undefined {
  const candidates = (process.env.PATH ?? "").split(":").map((folder) => join(folder, "strace"));
  return candidates.find((file) => existsSync(file));
}

function usable(device: string): boolean {
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** strace gives calls younger than itself as `syscall_0x1c3`. */
function nameOf(call: string): string {
  const number = /^syscall_(0x[0-9a-f]+)$/.exec(call)?.[1];
  return table.find((row) => row.nr === Number(number))?.name ?? call;
}

/** Calls that km, its forks and its execs make on the host while `name` runs. */
async function callsOnHost(tracer: string, name: string): Promise<Set<string>> {
  const program = await payload(name);
  return inScratch(async (directory) => {
    const trace = join(directory, "strace");
    const work = mkdtempSync(join(directory, "work-"));
    const options = ["-f", "-qq", "-e", "signal=none", "-o", trace];
    await run(tracer, [...options, KM, "-k", join(directory, "km.log"), program], work);
    const text = readFileSync(trace, "utf8");
    const calls = [...text.matchAll(/^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed)/gm)].map((match) =>
      nameOf(match[1] as string),
    );
    return new Set(calls);
  });
}

const tracer = strace();
const device = usable("/dev/kvm");
const seen = new Set<string>();
const trial = tracer && device ? test.serial : test.serial.skip;

for (const name of PAYLOADS) {
  trial(`${name}: what it makes the monitor ask of the host`, async (t) => {
    const calls = await callsOnHost(tracer ?? "", name);
    for (const call of calls) seen.add(call);
    t.true(calls.has("execve") && calls.size > 20);
  });
}

trial("every call that the filter lets through is made", (t) => {
  const own = ownRows();
  const needed = [
    ...table.filter((call) => call.onHost).map((call) => call.name),
    ...own.filter((row) => row.macro === "OWN" && HERE.has(row.when)).map((row) => row.name),
  ];
  t.true(needed.length > 300);
  t.deepEqual(
    needed.filter((name) => !seen.has(name)),
    [],
  );
});
