// SPDX-License-Identifier: Apache-2.0
// Every pointer, every descriptor and every size of every answered system call with the worst values there are, made
// from the table. What Linux says natively is what km must say; the process that asks must live.
import test from "ava";
import { readTable } from "../../scripts/gen-syscalls.mjs";
import { DEVICE_OPTIONS } from "../helpers/device.js";
import { KM } from "../helpers/paths.js";
import { buildPayloads, payload } from "../helpers/payloads.js";
import { here } from "../helpers/place.js";

/** Addresses: the window's end, km's entry page, a machine's descriptor tables, the kernel's half, no address at all. */
const ADDRESSES = [
  "0x7fffe00000",
  "0x8000008000",
  "0x8000200000",
  "0xffff800000000000",
  "0x8000000000000000",
  "0xfffffffffffffff8",
];
const DESCRIPTORS = ["-1", "0x7fffffff", "0x80000000", "0xffffffff"];
const SIZES = [
  "0xffffffffffffffff",
  "0xfffffffffffff000",
  "0x8000000000000000",
  "0x7fffffffffffffff",
  "0xffffffff",
];

/** Descriptors by the calls that want them (letters of test/payloads/bad/arguments.c). */
const WANTED: readonly (readonly [RegExp, string])[] = [
  [/^epoll_/, "e"],
  [/^timerfd_/, "t"],
  [/^inotify_/, "n"],
  [/^getdents/, "d"],
  [/^pidfd_|^process_/, "p"],
];

/** Arguments that must not be 0 for a call to get to its pointers, or to be harmless. */
const SPECIAL: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  rt_sigaction: { sig: "10", size: "8" },
  rt_sigprocmask: { size: "8" },
  rt_sigpending: { size: "8" },
  rt_sigtimedwait: { size: "8" },
  rt_sigsuspend: { size: "8" },
  signalfd: { size: "8" },
  signalfd4: { size: "8" },
  ppoll: { size: "8" },
  epoll_pwait: { size: "8" },
  epoll_pwait2: { size: "8" },
  epoll_ctl: { op: "1", fd: "s" },
  prlimit64: { resource: "4" },
  setrlimit: { resource: "4" },
  // 0 is IPC_PRIVATE, which would leave something behind; and there may be an object 0 of somebody else's.
  ...Object.fromEntries(["shmget", "semget", "msgget"].map((name) => [name, { key: "0x6b6d0001" }])),
  ...Object.fromEntries(
    ["shmat", "shmctl", "semop", "semctl", "semtimedop", "msgsnd", "msgrcv", "msgctl"].map((name) => [
      name,
      { id: "0x7ffffff0" },
    ]),
  ),
  close_range: { first: "100", last: "100" },
  clone3: { size: "88" },
  openat2: { size: "24" },
  arch_prctl: { code: "0x1003" },
  prctl: { option: "16" },
};

/** Left out, and why. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  clone: "its addresses count only with flags that make a process",
  set_robust_list: "natively the kernel follows the list when the process ends",
  exit: "no answer",
  arch_prctl: "bases of the segments: any user address is right",
  brk: "an address, not a pointer",
};

/** These change what lies behind the memory before they meet a hole, libc and all: that ends every program. */
const TAKES_AWAY = ["mprotect", "munmap", "mremap", "pkey_mprotect"];

const POINTERS = ["path", "str", "in", "out", "inout", "inbuf", "outbuf", "ptr"];

interface Argument {
  readonly name: string;
  readonly kind: string;
  readonly length: string;
}

interface Call {
  readonly nr: number;
  readonly name: string;
  readonly class: string;
  readonly groups: readonly string[];
  readonly args: string;
}

function parse(text: string): Argument[] {
  return text
    .split(" ")
    .filter(Boolean)
    .map((word) => {
      const [, name = "", kind = "", length = ""] = /^(\w+):(\w+)(?:\(([^)]*)\))?$/.exec(word) ?? [];
      return { name, kind, length };
    });
}

function descriptor(call: Call): string {
  const wanted = WANTED.find(([name]) => name.test(call.name))?.[1];
  return wanted ?? (call.groups.includes("net") ? "s" : "f");
}

/** A value with which a call does little and looks at its other arguments. */
function plain(call: Call, { name, kind }: Argument): string {
  const special = SPECIAL[call.name]?.[name];
  if (special !== undefined) return special;
  if (kind === "fd") return descriptor(call);
  if (kind === "dirfd") return "d";
  if (kind === "path" || kind === "str") return "x";
  if (kind === "ptr") return "m";
  if (POINTERS.includes(kind)) return "z";
  if (kind === "size") return "16";
  if (kind === "pid") return "i";
  return kind === "uint" ? "1" : "0";
}

/** Values to try in one argument. */
function worst(argument: Argument, all: readonly Argument[]): readonly string[] {
  if (POINTERS.includes(argument.kind)) return ADDRESSES;
  if (argument.kind === "fd" || argument.kind === "dirfd") return DESCRIPTORS;
  const counts = all.some(
    ({ kind, length }) => POINTERS.includes(kind) && length.split(/[*/+]/)[0] === argument.name,
  );
  return argument.kind === "size" || counts ? SIZES : [];
}

interface Case {
  readonly call: Call;
  readonly kind: string;
  readonly line: string;
}

function cases(call: Call): Case[] {
  const all = parse(call.args);
  return all.flatMap((argument, index) =>
    worst(argument, all).flatMap((value) => {
      if (argument.kind === "size" && TAKES_AWAY.includes(call.name)) return [];
      const values = all.map((other, i) => (i === index ? value : plain(call, other)));
      const line = [call.nr, ...values, ...Array(6 - values.length).fill("0")].join(" ");
      return [{ call, kind: argument.kind, line }];
    }),
  );
}

const ORDER = "two things are wrong; km finds the other one first";
const UNUSED = "Linux does not look at the address as there is nothing to put there; km refuses it at once";
const CUT = "km cuts a length at the window's end, where Linux refuses one that leaves user space";
const LONG = "a length no memory has: km refuses it before Linux would say it wants less";

/** Where km's answer may be another than Linux's, and why. The list can only shrink. */
const DIFFERENT: Readonly<Record<string, string>> = {
  ...Object.fromEntries(["read", "write", "pread64", "pwrite64"].map((name) => [name, CUT])),
  ...Object.fromEntries(
    [
      "execve",
      "execveat",
      "io_cancel",
      "io_getevents",
      "io_pgetevents",
      "ioctl",
      "landlock_restrict_self",
      "sigaltstack",
      "socketpair",
    ].map((name) => [name, ORDER]),
  ),
  ...Object.fromEntries(
    ["epoll_pwait", "epoll_pwait2", "epoll_wait", "pselect6", "recvfrom", "recvmmsg", "rt_sigtimedwait"].map(
      (name) => [name, UNUSED],
    ),
  ),
  ...Object.fromEntries(
    [
      "listmount",
      "mbind",
      "mlock",
      "mlock2",
      "move_pages",
      "msgsnd",
      "munlock",
      "ppoll",
      "process_vm_readv",
      "process_vm_writev",
      "sched_getaffinity",
      "sched_setaffinity",
      "sendmmsg",
      "sendto",
      "set_mempolicy_home_node",
    ].map((name) => [name, LONG]),
  ),
};

/** Whether km may say this where Linux says that. Never success where Linux fails, but for a length that was cut. */
function mayDiffer(call: string, km: string | undefined): boolean {
  const reason = DIFFERENT[call];
  return reason !== undefined && km !== undefined && (km !== "ok" || reason === CUT);
}

const ANSWERED = (readTable() as Call[]).filter(
  ({ name, nr, class: kind }) =>
    nr < 500 && ["implemented", "forwarded"].includes(kind) && !(name in LEFT_OUT),
);

async function answers(command: readonly string[], lines: readonly string[]): Promise<Map<string, string>> {
  const stdin = `${lines.join("\n")}\n`;
  const outcome = await here.inScratch((cwd) => here.run({ command, cwd, stdin, seconds: 500 }));
  const said = outcome.stdout.toString().trim().split("\n");
  if (outcome.status !== 0) throw new Error(`${command}: ${outcome.status}: ${outcome.stderr}`);
  const ended = said.filter((line) => line.startsWith("call "));
  if (ended.length > 0) throw new Error(`${command[0]}: ${ended.join("; ")}`);
  return new Map(said.map((line) => line.split(": ") as [string, string]));
}

test("the worst pointers, descriptors and sizes get Linux's answer", async (t) => {
  t.timeout(1_200_000);
  await buildPayloads();
  const program = payload("bad/arguments");
  const all = ANSWERED.flatMap(cases);
  const lines = all.map(({ line }) => line);
  const native = await answers([program], lines);
  const km = await answers([KM, "-k", "none", ...DEVICE_OPTIONS, program], lines);
  const wrong = all
    .filter(({ call, line }) => km.get(line) !== native.get(line) && !mayDiffer(call.name, km.get(line)))
    .map(({ call, line }) => `${call.name} ${line}: km ${km.get(line)}, native ${native.get(line)}`);
  const faults = all.filter(({ line }) => km.get(line) === "EFAULT").length;
  t.log(`${all.length} calls of ${ANSWERED.length} numbers, ${faults} of them EFAULT`);
  t.deepEqual(wrong, []);
  t.true(faults > 700, "the pointers are looked at");
});
