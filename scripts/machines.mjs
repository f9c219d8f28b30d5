// SPDX-License-Identifier: Apache-2.0
// Where the suites that need a virtual machine run: here, or, on a machine without a usable device, in the lab's QEMU
// guest, which has this file system and a /dev/kvm of its own.
import { spawnSync } from "node:child_process";
import { accessSync, constants, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** Folders under test/ whose tests start machines. */
const MACHINE_SUITES = [
  "badinput",
  "conformance",
  "machine",
  "monitor",
  "programs",
  "servers",
  "soak",
  "suites",
  "syscalls",
];

const DEVICES = ["/dev/kontain", "/dev/kvm", "/dev/kkm"];
const HELLO = ["build/bin/km", "build/tests/hello_test.km"];

function walk(dir) {
  return readdirSync(dir)
    .sort()
    .flatMap((name) => {
      const path = join(dir, name);
      return statSync(path).isDirectory() ? walk(path) : [path];
    });
}

/** The AVA files: those that start machines, and the rest. */
export function suites() {
  const files = walk("test").filter((file) => file.endsWith(".test.ts"));
  const folder = (file) => file.split("/")[1];
  return {
    machine: files.filter((file) => MACHINE_SUITES.includes(folder(file))),
    other: files.filter((file) => !MACHINE_SUITES.includes(folder(file))),
  };
}

function opens(path) {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Command line that runs `command` in the lab's guest, for at most `seconds`. */
export function inGuest(command, seconds) {
  const guest = ["npm", "run", "-s", "lab", "--", "run", "--timeout", String(seconds), "--"];
  return [...guest, ...command];
}

function hello(command) {
  const [program, ...args] = command;
  const done = spawnSync(program, args, { encoding: "utf8", timeout: 300_000, killSignal: "SIGKILL" });
  return { ok: done.status === 0, said: `${done.stderr ?? ""}`.trim().split("\n").at(-1) };
}

/**
 * Decides where machines run. KONTAIN_TEST_IN=here or =guest decides instead.
 * @returns {{where: "here" | "guest" | "nowhere", why: string}}
 */
export function placeForMachines() {
  const wish = process.env.KONTAIN_TEST_IN;
  if (wish === "here" || wish === "guest") return { where: wish, why: `KONTAIN_TEST_IN=${wish}` };
  const device = DEVICES.find(opens);
  const here = device ? hello(HELLO) : { ok: false, said: `none of ${DEVICES.join(", ")} can be opened` };
  if (here.ok) return { where: "here", why: `hello runs on ${device}` };
  // A broken km fails in the guest as well; an unusable device does not.
  const guest = hello(inGuest(HELLO, 240));
  if (guest.ok) return { where: "guest", why: here.said };
  return { where: "nowhere", why: `here: ${here.said}; in the guest: ${guest.said}` };
}
