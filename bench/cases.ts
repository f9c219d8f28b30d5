// SPDX-License-Identifier: Apache-2.0
// What is measured: process start beside native, node, crun and runsc; single operations; memory of the monitor.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ExecaError, execa } from "execa";
import type { Case } from "./table.js";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SOURCES = join(ROOT, "bench/payloads");
const RELEASE = join(process.env.KONTAIN_BUILD_DIR ?? join(ROOT, "build"), "Release");
/** Exit status of payloads/hello.c. */
const HELLO_STATUS = 42;
/** Payload memory lies below this address of the monitor's own address space; all above is the monitor's. */
const WINDOW_END = 0x80_0000_0000n;
const NATIVE_MUSL = "start: native, static musl hello";
const NATIVE_GLIBC = "start: native, static glibc hello";
const NATIVE_NODE = "start: node -e 0";

/** [argument of payloads/micro.c, what, unit, nanoseconds to that unit] */
const MICRO: [string, string, string, (ns: number) => number][] = [
  ["call", "one trivial system call (getppid)", "ns", (ns) => ns],
  ["fault", "first touch of a 4 KiB page", "ns", (ns) => ns],
  ["cpu", "CPU loop, one step", "ns", (ns) => ns],
  ["copy", "memory copy", "GB/s", (ns) => 2 ** 20 / ns],
  ["fill", "32 MiB filled for the first time", "ms", (ns) => ns / 1e6],
];

/** Standard output of a command. Its Error is the last line the command wrote to standard error. */
async function output(command: string, args: string[]): Promise<string> {
  try {
    return (await execa(command, args, { stdin: "ignore", timeout: 90_000 })).stdout;
  } catch (error) {
    if (!(error instanceof ExecaError)) throw error;
    const said = String(error.stderr ?? "")
      .trim()
      .split("\n")
      .at(-1);
    throw new Error(said || error.shortMessage);
  }
}

async function nanoseconds(command: string, args: string[]): Promise<number> {
  const text = await output(command, args);
  const ns = Number(text.trim());
  if (!(ns > 0)) throw new Error(`${command} printed ${JSON.stringify(text)}, not nanoseconds`);
  return ns;
}

/** @param source without .c, of payloads/ */
async function compile(folder: string, source: string, name = source, compiler = "gcc"): Promise<string> {
  const path = join(folder, name);
  await output(compiler, ["-O2", "-static", "-Wall", "-Wextra", "-o", path, join(SOURCES, `${source}.c`)]);
  return path;
}

/** A bundle with `program` as /hello, or the reason why there is none. */
async function bundle(folder: string, program: string): Promise<string> {
  const path = join(folder, "bundle");
  await mkdir(join(path, "rootfs"), { recursive: true });
  await copyFile(program, join(path, "rootfs/hello"));
  const file = join(path, "config.json");
  await execa("crun", ["spec"], { cwd: path });
  const config = JSON.parse(await readFile(file, "utf8"));
  Object.assign(config.process, { terminal: false, args: ["/hello"] });
  await writeFile(file, JSON.stringify(config));
  return path;
}

/** crun refuses a host where both cgroup hierarchies are mounted: it gets a mount namespace without the unified one. */
const ONE_HIERARCHY = `awk '$3 == "cgroup2" && $2 != "/sys/fs/cgroup" { print $2 }' /proc/mounts | xargs -r umount; exec "$@"`;

function startCases(folder: string, km: string, timed: string, musl: string, glibc: string): Case[] {
  const ms = async (command: string, args: string[]) => (await nanoseconds(command, args)) / 1e6;
  const start = (what: string, status: number, command: string[], base?: string): Case => ({
    what,
    unit: "ms",
    ...(base === undefined ? {} : { base }),
    measure: () => ms(timed, [String(status), ...command]),
  });
  let ready: Promise<string> | undefined;
  let containers = 0;
  const crun = async () => {
    ready ??= bundle(folder, musl);
    const id = `kontain-bench-${process.pid}-${containers++}`;
    const run = ["crun", "--cgroup-manager=disabled", "run", "--bundle", await ready, id];
    return ms("unshare", ["--mount", "sh", "-c", ONE_HIERARCHY, "sh", timed, String(HELLO_STATUS), ...run]);
  };
  const runsc = ["runsc", "-platform", "ptrace", "-network", "none", "-ignore-cgroups", "do", musl];
  const { execPath } = process;
  return [
    start(NATIVE_MUSL, HELLO_STATUS, [musl]),
    start("start: km, static musl hello", HELLO_STATUS, [km, musl], NATIVE_MUSL),
    start(NATIVE_GLIBC, HELLO_STATUS, [glibc]),
    start("start: km, static glibc hello", HELLO_STATUS, [km, glibc], NATIVE_GLIBC),
    start(NATIVE_NODE, 0, [execPath, "-e", "0"], NATIVE_MUSL),
    start("start: km, node -e 0", 0, [km, execPath, "-e", "0"], NATIVE_NODE),
    { what: "start: crun run, musl hello", unit: "ms", base: NATIVE_MUSL, measure: crun },
    start("start: runsc do (ptrace), musl hello", HELLO_STATUS, runsc, NATIVE_MUSL),
  ];
}

function microCases(km: string, micro: string): Case[] {
  return MICRO.flatMap(([kind, what, unit, convert]) => [
    { what: `${what}: native`, unit, measure: async () => convert(await nanoseconds(micro, [kind])) },
    {
      what: `${what}: km`,
      unit,
      base: `${what}: native`,
      measure: async () => convert(await nanoseconds(km, [micro, kind])),
    },
  ]);
}

/** The monitor without its main, from the build of km. */
async function core(): Promise<string[]> {
  const door = join(RELEASE, "obj.target/km/native/km");
  const objects = (await readdir(door)).filter((name) => name.endsWith(".o") && name !== "main.o");
  return [...objects.map((name) => join(door, name)), join(RELEASE, "kontain_core.a")];
}

/** What the management socket costs a machine nobody asks about: fresh processes, the median of 301 a value. */
function announceCases(folder: string): Case[] {
  const program = join(folder, "announce");
  let ready: Promise<string> | undefined;
  const build = async () => {
    const flags = ["-std=c++20", "-O2", "-fno-exceptions", "-fno-rtti", "-I", ROOT, "-o", program];
    return output("g++", [...flags, join(ROOT, "bench/native/announce.cc"), ...(await core()), "-pthread"]);
  };
  return ["announce", "withdraw"].map((step) => ({
    what: `management socket: ${step}`,
    unit: "us",
    measure: async () => {
      ready ??= build();
      await ready;
      return (await nanoseconds(program, [step])) / 1000;
    },
  }));
}

/** Kibibytes of the Pss lines of proc(5) smaps that belong to mappings below WINDOW_END. */
export function pssBelowWindowEnd(smaps: string): number {
  let below = false;
  let sum = 0;
  for (const line of smaps.split("\n")) {
    const mapping = /^([0-9a-f]+)-[0-9a-f]+ /.exec(line);
    if (mapping) below = BigInt(`0x${mapping[1]}`) < WINDOW_END;
    const size = /^Pss:\s+(\d+) kB/.exec(line);
    if (size && below) sum += Number(size[1]);
  }
  return sum;
}

async function whileUp<T>(command: string, args: string[], look: (pid: number) => Promise<T>): Promise<T> {
  const child: ChildProcess = spawn(command, args, { stdio: ["ignore", "pipe", "ignore"] });
  const closed = once(child, "close");
  try {
    const up = child.stdout ? once(child.stdout, "data").then(() => true) : Promise.resolve(false);
    if (!(await Promise.race([up, closed.then(() => false)]))) throw new Error(`${command} ended early`);
    return await look(child.pid as number);
  } finally {
    child.kill("SIGKILL");
    await closed;
  }
}

async function pss(pid: number, withoutWindow: boolean): Promise<number> {
  const whole = /^Pss:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/smaps_rollup`, "utf8"));
  if (!whole) throw new Error("smaps_rollup has no Pss line");
  const window = withoutWindow ? pssBelowWindowEnd(await readFile(`/proc/${pid}/smaps`, "utf8")) : 0;
  return (Number(whole[1]) - window) / 1024;
}

function memoryCases(km: string, sleeper: string): Case[] {
  return [
    {
      what: "PSS: the payload, native",
      unit: "MiB",
      measure: () => whileUp(sleeper, [], (pid) => pss(pid, false)),
    },
    {
      what: "PSS: km beyond the payload",
      unit: "MiB",
      measure: () => whileUp(km, [sleeper], (pid) => pss(pid, true)),
    },
  ];
}

/** All cases; compiles what they need. @param folder for programs, removed by the caller */
export async function allCases(folder: string, km: string): Promise<Case[]> {
  // A host without musl-gcc loses the musl rows only: their program does not exist, and that is what they say.
  const [timed, glibc, micro, sleeper] = await Promise.all([
    compile(folder, "timed"),
    compile(folder, "hello", "hello-glibc"),
    compile(folder, "micro"),
    compile(folder, "sleeper"),
  ]);
  const musl = join(folder, "hello-musl");
  await compile(folder, "hello", "hello-musl", "musl-gcc").catch((error: Error) =>
    console.error(`bench: no musl rows: ${error.message}`),
  );
  return [
    ...startCases(folder, km, timed, musl, glibc),
    ...microCases(km, micro),
    ...announceCases(folder),
    ...memoryCases(km, sleeper),
  ];
}
