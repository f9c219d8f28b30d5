// SPDX-License-Identifier: Apache-2.0
// What this project needs from the distribution, by purpose. One row: the Debian/Ubuntu package, how to see that it is
// there (a command on PATH or a file), and what needs it. setup.mjs installs from this table, build.mjs checks it.
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** @typedef {{apt: string, command?: string, file?: string, why: string}} Need */

/** @type {Record<"build" | "test" | "lab", Need[]>} */
export const NEEDS = {
  build: [
    { apt: "build-essential", command: "g++", why: "compiles km and the Node addon" },
    { apt: "make", command: "make", why: "runs the native build" },
    { apt: "python3", command: "python3", why: "node-gyp is written in it" },
  ],
  test: [
    { apt: "clang-tidy-14", command: "clang-tidy-14", why: "native lint" },
    { apt: "musl-tools", command: "musl-gcc", why: "payloads linked with musl" },
    { apt: "golang-go", command: "go", why: "payloads in Go" },
    { apt: "openjdk-17-jdk-headless", command: "javac", why: "payloads in Java" },
    { apt: "sqlite3", command: "sqlite3", why: "a program that runs under km" },
    { apt: "perl", command: "perl", why: "a program that runs under km" },
    { apt: "busybox-static", command: "busybox", why: "a program that runs under km" },
    { apt: "strace", command: "strace", why: "shows what km asks of the host" },
  ],
  lab: [
    { apt: "qemu-system-x86", command: "qemu-system-x86_64", why: "boots the lab's guests" },
    { apt: "build-essential", command: "cc", why: "compiles the lab's guest programs" },
    { apt: "xz-utils", command: "xz", why: "unpacks Debian's kernels and modules" },
    { apt: "zstd", command: "zstd", why: "unpacks Debian's newer kernels" },
    { apt: "kmod", file: "/sbin/insmod", why: "loads modules in guests that have the host's root" },
    {
      apt: "debian-archive-keyring",
      file: "/usr/share/keyrings/debian-archive-keyring.gpg",
      why: "checks Debian's package lists",
    },
  ],
};

/** Full path of `command` on PATH, or undefined. */
export function which(command) {
  for (const dir of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(dir || ".", command);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not here
    }
  }
  return undefined;
}

/** Rows of the given purposes that this machine does not have. */
export function missing(...purposes) {
  return purposes
    .flatMap((purpose) => NEEDS[purpose])
    .filter((need) => !(need.command ? which(need.command) : existsSync(need.file)));
}

/** The one line a person runs to get `needs`. */
export function aptLine(needs) {
  return `apt-get install -y ${[...new Set(needs.map((need) => need.apt))].join(" ")}`;
}
