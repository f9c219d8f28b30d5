// SPDX-License-Identifier: Apache-2.0
// What a running server and its children hold, read from /proc.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Descriptors behind virtual CPUs: a monitor keeps them for later threads. */
const VCPU = /^anon_inode:kvm-vcpu|^anon_inode:.*kkm-vcpu/;

export interface Holdings {
  readonly processes: number;
  readonly descriptors: number;
  readonly vcpus: number;
}

/** `pid` and every process below it. */
export function family(pid: number): number[] {
  const children = list(`/proc/${pid}/task`).flatMap((thread) =>
    text(`/proc/${pid}/task/${thread}/children`).split(" ").filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(family)];
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // ended meanwhile
  }
}

function text(file: string): string {
  try {
    return readFileSync(file, "latin1").trim();
  } catch {
    return "";
  }
}

function target(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return "";
  }
}

export function holdings(pid: number): Holdings {
  const processes = family(pid);
  const links = processes.flatMap((one) =>
    list(`/proc/${one}/fd`).map((fd) => target(`/proc/${one}/fd/${fd}`)),
  );
  const vcpus = links.filter((link) => VCPU.test(link)).length;
  return { processes: processes.length, descriptors: links.length - vcpus, vcpus };
}
