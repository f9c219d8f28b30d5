// SPDX-License-Identifier: Apache-2.0
// The programs that must behave under km as they do natively. Run on this machine by programs.test.ts and in the
// lab's guest by guest.test.ts; of(host, guest) scales the work.
import { join } from "node:path";
import { find } from "../helpers/commands.js";
import type { Case } from "../helpers/compare.js";
import { INPUTS } from "../helpers/paths.js";
import { payload, sourcesIn } from "../helpers/payloads.js";

/** km looks up no PATH of its own here: both runs get the full path, so argv[0] is the same. */
const path = (command: string): string => find(command) ?? command;

const HELLOS: Case[] = ["static-musl", "static-glibc", "static-pie", "dynamic-musl", "dynamic-glibc"].map(
  (flavour) => ({
    name: `C hello, ${flavour}`,
    command: () => [payload(`hello/${flavour}`), "one", "two words", ""],
    env: { HELLO_STATUS: "17" },
    status: 17,
  }),
);

const LANGUAGES: Case[] = [
  { name: "C++ exceptions and thread_local, dynamic", command: () => [payload("cpp/dynamic")] },
  { name: "C++ exceptions and thread_local, static", command: () => [payload("cpp/static")] },
  {
    name: "Go without cgo: goroutines, collector, faults",
    needs: ["go"],
    command: (of) => [payload("go/pure"), String(of(4, 2))],
  },
  {
    name: "Go with cgo: C threads, callbacks",
    needs: ["go"],
    command: (of) => [payload("go/cgo"), String(of(8, 2))],
  },
  {
    name: "Java hello",
    needs: ["java", "javac"],
    command: () => [path("java"), "-cp", payload("java"), "Hello", "a", "b"],
    status: 2,
  },
  {
    name: "Java: 8 threads, collector, faults",
    needs: ["java", "javac"],
    command: (of) => [path("java"), "-Xmx128m", "-cp", payload("java"), "Work", String(of(2000, 200))],
    seconds: 240,
  },
];

const KEY =
  "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 3650 -subj /CN=localhost";

function python(name: string, command: string): Case {
  return {
    name: `${name}: ssl, sqlite3, json, decimal, ctypes, threading, fork, asyncio`,
    needs: ["openssl", command],
    setUp: () => `${KEY} 2>/dev/null`,
    command: (of) => [path(command), "-B", join(INPUTS, "modules.py"), String(of(10, 2))],
    status: 5,
  };
}

const SCRIPTED: Case[] = [
  python("Debian's python3", "/usr/bin/python3"),
  ...(find("python3") === "/usr/bin/python3" ? [] : [python("python3 of PATH", "python3")]),
  {
    name: "node: worker_threads, crypto, fs, http, child_process, wasm",
    needs: ["node"],
    command: (of) => [path("node"), join(INPUTS, "modules.mjs"), String(of(10, 1))],
    status: 6,
    seconds: 240,
  },
  {
    name: "perl: regular expressions, fork, pipes, sockets, signals",
    needs: ["perl"],
    command: (of) => [path("perl"), join(INPUTS, "modules.pl"), String(of(10, 2))],
    status: 7,
  },
  {
    name: "sqlite3 on a database file",
    needs: ["sqlite3"],
    setUp: () => `cp ${join(INPUTS, "statements.sql")} .`,
    command: () => [path("sqlite3"), "-init", "/dev/null", "test.db", ".read statements.sql"],
    outputs: ["test.db"],
  },
];

const SHELL_SCRIPT = `
  for i in 1 2 3; do echo $i; done | sort -r | tr 123 abc
  (exit 3); echo "status $?"
  x=$(printf %s "$0"); echo \${#x}
  ls -d / /etc | wc -l
  trap 'echo trapped' USR1; kill -USR1 $$
  sleep 0.1 & wait; echo waited
  { echo to stderr >&2; } 2>&1
  exit 4`;

/** Six modules with a number each, a program whose status is their sum, and a Makefile. */
const C_PROJECT = `
for i in 1 2 3 4 5 6; do
  echo "int part$i(void) { return $i; }" > part$i.c
  echo "int part$i(void);"
done > parts.h
{
  echo '#include "parts.h"'
  echo 'int main(void) { return part1() + part2() + part3() + part4() + part5() + part6(); }'
} > main.c
printf 'CFLAGS = -O2 -Wall -Werror\\nsum: $(patsubst %%.c,%%.o,$(wildcard *.c))\\n\\t$(CC) -o $@ $^\\n' > Makefile
`;

const TOOLS: Case[] = [
  { name: "/bin/ls -l", command: () => ["/bin/ls", "-l", "/usr/bin", "/etc"] },
  {
    name: "sort of a large file",
    setUp: (of) =>
      `awk 'BEGIN { srand(1); for (i = 0; i < ${of(3_000_000, 60_000)}; i++) print int(rand() * 1e9), i }' > lines`,
    command: () => ["/usr/bin/sort", "-T", ".", "-o", "sorted", "lines"],
    outputs: ["sorted"],
    seconds: 300,
  },
  {
    name: "sha256sum",
    setUp: (of) => `head -c ${of(200_000_000, 5_000_000)} /dev/zero > zeros`,
    command: () => ["/usr/bin/sha256sum", "zeros", "/etc/passwd", "missing"],
    status: 1,
  },
  {
    name: "tar of a tree",
    setUp: (of) => `
      for d in a b c; do mkdir -p tree/$d; for i in $(seq ${of(200, 30)}); do echo $d $i > tree/$d/$i; done; done
      ln -s a/1 tree/link; ln tree/b/2 tree/hard; chmod 600 tree/c/3; mkfifo tree/fifo`,
    command: () => ["/bin/tar", "--sort=name", "-czvf", "tree.tar.gz", "tree"],
    outputs: ["tree.tar.gz"],
    // gzip's header would carry the time of day
    env: { GZIP_OPT: "", SOURCE_DATE_EPOCH: "0" },
  },
  {
    name: "busybox sh",
    needs: ["busybox"],
    command: () => [path("busybox"), "sh", "-c", SHELL_SCRIPT],
    status: 4,
  },
  { name: "dash", command: () => ["/bin/sh", "-c", SHELL_SCRIPT], status: 4 },
  { name: "bash", needs: ["bash"], command: () => [path("bash"), "-c", SHELL_SCRIPT], status: 4 },
  {
    name: "bash, job control",
    needs: ["bash"],
    command: () => [path("bash"), join(INPUTS, "jobs.bash")],
    status: 5,
  },
  {
    name: "make -j4 builds a C project",
    needs: ["make", "gcc"],
    setUp: () => C_PROJECT,
    command: () => [path("bash"), "-c", "make -s -j4 && ./sum"],
    status: 21,
    outputs: ["sum", "*.o"],
    seconds: 240,
  },
  {
    name: "gcc compiles and links",
    needs: ["gcc"],
    setUp: () => `printf '#include <stdio.h>\\nint main(void){puts("built");return 0;}\\n' > t.c`,
    command: () => [path("gcc"), "-O2", "-o", "t", "t.c"],
    outputs: ["t"],
  },
  {
    name: "cat of standard input",
    command: () => ["/bin/cat"],
    stdin: "line\n".repeat(20_000),
  },
  {
    name: "a shebang script",
    needs: ["perl"],
    setUp: () => `printf '#!/usr/bin/perl -w\\nprint "$0 @ARGV\\\\n"; exit 9' > script; chmod 755 script`,
    command: () => ["./script", "x", "y z"],
    status: 9,
  },
];

/** Real programs. */
export const PROGRAMS: readonly Case[] = [...HELLOS, ...LANGUAGES, ...SCRIPTED, ...TOOLS];

/** Payloads that kill processes, so that km has something to say on stderr. */
const DEADLY = new Set(["deaths", "signal_masks", "processes", "traps"]);

/** Payloads of test/payloads/machine, each about one part of what a machine must offer. */
export const FEATURES: readonly Case[] = ["machine", "machine-static"].flatMap((folder) =>
  sourcesIn("machine").map((name) => ({
    name: `${name}${folder === "machine" ? "" : " (static)"}`,
    command: () => [payload(`${folder}/${name}`)],
    deaths: DEADLY.has(name),
    seconds: 180,
    // The library does not decide what the processor does: once is enough where everything is slow.
    ...(folder === "machine" ? {} : { notInGuest: "the dynamic one runs there" }),
  })),
);
