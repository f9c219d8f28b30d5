// SPDX-License-Identifier: Apache-2.0
// What a check is. One file in checks/ is one check; it looks, and changes nothing.
import type { Host } from "../base/host.js";
import type { HostFacts } from "../installer/facts.js";
import type { HelloRun } from "../installer/verify/hello.js";

/** crash: the check itself failed, which says nothing about the host. skip: it does not apply here. */
export type Verdict = "ok" | "warn" | "fail" | "skip" | "crash";

export interface Finding {
  verdict: Exclude<Verdict, "crash">;
  /** What was seen, in one line. */
  evidence: string;
  /** What to do, where this case has a better answer than the check's own. */
  fix?: string;
}

/** The installation in the prefix, as its journal has it. */
export interface Installed {
  version: string;
  device: string;
  /** Files it put in place, with what they should hold. */
  files: { path: string; sha256: string }[];
}

export interface Context {
  host: Host;
  facts: HostFacts;
  prefix: string;
  installed: Installed | null;
  /** SHA-256 of a file, or null where there is none. */
  fingerprint: (path: string) => Promise<string | null>;
  runHello: (monitor: string, hello: string, device: string) => Promise<HelloRun>;
  env: Record<string, string | undefined>;
}

export const GROUPS = {
  CPU: "processor",
  HYP: "machine",
  KERN: "kernel",
  MOD: "module",
  DEV: "devices",
  MON: "monitor",
  ENG: "container engines",
  K8S: "Kubernetes node",
} as const;

export interface Check {
  /** Stable: KKM-GROUP-NNN. Never used again for anything else. */
  id: `KKM-${keyof typeof GROUPS}-${string}`;
  title: string;
  /** What it looks at, for the documentation. */
  looks: string;
  /** What to do when it is not ok. */
  fix: string;
  run: (context: Context) => Finding | Promise<Finding>;
}

export const ok = (evidence: string): Finding => ({ verdict: "ok", evidence });
export const skip = (evidence: string): Finding => ({ verdict: "skip", evidence });
export const warn = (evidence: string, fix?: string): Finding => ({
  verdict: "warn",
  evidence,
  ...(fix ? { fix } : {}),
});
export const fail = (evidence: string, fix?: string): Finding => ({
  verdict: "fail",
  evidence,
  ...(fix ? { fix } : {}),
});

/** Whether KKM matters on this host: it is there, or nothing else would do. */
export function kkmMatters({ facts, installed }: Context): boolean {
  const present = facts.devices.some(({ path, state }) => path === "/dev/kkm" && state !== "absent");
  const built = facts.build.some(({ module }) => module !== "absent");
  const other = facts.devices.some(({ path, state }) => path !== "/dev/kkm" && state === "works");
  return present || built || installed?.device === "/dev/kkm" || !other;
}

/** A number in a file of /proc or /sys; undefined where there is none. */
export async function numberIn(host: Host, path: string): Promise<number | undefined> {
  const text = (await host.readFile(path))?.trim();
  return text && /^\d+$/.test(text) ? Number(text) : undefined;
}
