// SPDX-License-Identifier: Apache-2.0
// Builds test/payloads once, however many test files ask at the same time.
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { PAYLOADS, ROOT } from "./paths.js";

const SOURCES = join(ROOT, "test/payloads");

/**
 * Brings every payload up to date. One missing compiler must not hide the rest: what could not be built is simply
 * not there (see built()), and make's complaint is part of the error of whoever needs it.
 * @returns what make had to say about failures, "" if all went well
 */
export async function buildPayloads(): Promise<string> {
  mkdirSync(PAYLOADS, { recursive: true });
  const make = ["make", "--no-print-directory", "-s", "-k", "-C", SOURCES, `OUT=${PAYLOADS}`];
  const done = await execa("flock", [join(PAYLOADS, ".lock"), ...make], { reject: false, all: true });
  return done.exitCode === 0 ? "" : String(done.all ?? done.message);
}

/** Full path of a payload, e.g. "machine/threads". */
export const payload = (name: string): string => join(PAYLOADS, name);

export const built = (name: string): boolean => existsSync(payload(name));

/** Names of the sources in a folder of test/payloads, without their ending. */
export function sourcesIn(folder: string): string[] {
  return readdirSync(join(SOURCES, folder))
    .filter((file) => file.endsWith(".c"))
    .map((file) => file.slice(0, -2))
    .sort();
}
