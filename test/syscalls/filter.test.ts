// SPDX-License-Identifier: Apache-2.0
// No rule of the seccomp filter is redundant: every call it lets through is made on the host, by the monitor itself or
// for a payload that makes each call of the table, and so is every value it lets through in an argument it looks at. A
// rule that nothing needs is a door left open.
import { accessSync, constants, existsSync, mkdtempSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { join, resolve } from "node:path";
import test from "ava";
import { compileTest } from "../../scripts/native-tests.mjs";
import { COMPARED, inScratch, KM, payload, ROOT, run } from "./payloads.js";

/** A line of `confine_filter list`: one thing that the filter lets through. */
interface Rule {
  /** "number": a call; else the call whose argument must have `value`. */
  readonly what: string;
  readonly value: number;
  /** Reason of the row in own.def. */
  readonly when: string;
  readonly name: string;
}

/** Rows that nothing on /dev/kvm needs: KKM's own, and what only a process that was stopped and goes on needs. */
const NOT_HERE = new Set(["kKkm", "kSignal"]);

/** Rows that kernels before this version have no use for. */
const SINCE: Readonly<Record<string, readonly [number, number]>> = { kGetXsave2: [5, 17] };

/** Index of the argument that the filter looks at. */
const LOOKED_AT: Readonly<Record<string, number>> = { ioctl: 1, prctl: 0, socket: 0, socketpair: 0 };

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

/** The rules of the filter, from the tables it is made of. */
async function allRules(): Promise<Rule[]> {
  const program = compileTest("test/native/confine_filter.cc");
  if (!program) throw new Error("confine_filter.cc does not compile");
  const { stdout } = await run(resolve(ROOT, program), ["list"], ROOT);
  return stdout
    .trim()
    .split("\n")
    .map((line) => {
      const [what = "", value, when = "", name = ""] = line.split(" ");
      return { what, value: Number(value), when, name };
    });
}

function neededHere({ when, name }: Rule): boolean {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  const [sinceMajor = 0, sinceMinor = 0] = SINCE[name] ?? [];
  return !NOT_HERE.has(when) && (major > sinceMajor || (major === sinceMajor && minor >= sinceMinor));
}

const key = (what: string, value: number | string) => `${what} ${value}`;

/** What a line of strace shows: the call and, where the filter looks at an argument, its value. */
function* asked(call: string, args: string): Generator<string> {
  // strace gives calls younger than itself as `syscall_0x1c3`.
  const number = /^syscall_(0x[0-9a-f]+)$/.exec(call)?.[1];
  yield key("number", number ? Number(number) : call);
  const index = LOOKED_AT[call];
  if (index !== undefined) yield key(call, Number(args.split(", ")[index]));
}

/** What km, its forks and its execs ask of the host while `name` runs, from when the filter is on. */
async function askedOfHost(tracer: string, name: string): Promise<Set<string>> {
  const program = await payload(name);
  return inScratch(async (directory) => {
    const trace = join(directory, "strace");
    const work = mkdtempSync(join(directory, "work-"));
    const options = ["-f", "-qq", "-X", "raw", "-e", "signal=none", "-o", trace];
    await run(tracer, [...options, KM, "-k", join(directory, "km.log"), program], work);
    const text = readFileSync(trace, "utf8");
    const underFilter = text.slice(text.search(/^\d+ +seccomp\(0x1, /m));
    const calls = underFilter.matchAll(/^\d+ +(?:<\.\.\. )?(\w+)(?:\(([^)]*)| resumed)/gm);
    return new Set([...calls].flatMap(([, call = "", args = ""]) => [...asked(call, args)]));
  });
}

const tracer = strace();
const device = usable("/dev/kvm");
const seen = new Set<string>();
const trial = tracer && device ? test.serial : test.serial.skip;

for (const name of COMPARED) {
  trial(`${name}: what it makes the monitor ask of the host`, async (t) => {
    const calls = await askedOfHost(tracer ?? "", name);
    for (const call of calls) seen.add(call);
    t.true(calls.size > 20);
  });
}

trial("every call that the filter lets through is made, with every value", async (t) => {
  const rules = await allRules();
  const needed = rules.filter(neededHere);
  t.deepEqual(
    [...new Set(needed.map((rule) => rule.what))],
    ["number", "ioctl", "prctl", "socket", "socketpair"],
  );
  t.true(needed.length > 500);
  const made = ({ what, value, name }: Rule) =>
    seen.has(key(what, value)) || (what === "number" && seen.has(key(what, name)));
  t.deepEqual(
    needed
      .filter((rule) => !made(rule))
      .map(({ what, value, name }) => `${what} 0x${value.toString(16)} ${name}`),
    [],
  );
});
