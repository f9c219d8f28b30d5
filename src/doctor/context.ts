// SPDX-License-Identifier: Apache-2.0
// What checks look at on this machine.
import { realHost } from "../base/host.js";
import { JournalError, readJournal, standing } from "../installer/apply/journal.js";
import { fingerprint } from "../installer/apply/keep.js";
import { detect } from "../installer/detect/detect.js";
import { runHello } from "../installer/verify/hello.js";
import type { Context, Installed } from "./check.js";

function unlessRefused(error: unknown): undefined {
  if (!(error instanceof JournalError)) throw error;
}

async function readInstalled(prefix: string): Promise<Installed | null> {
  // A journal that is not worked with is told with the facts.
  const records = (await readJournal(prefix).catch(unlessRefused)) ?? [];
  const verified = records.findLast((record) => record.type === "verified");
  if (verified?.type !== "verified") return null;
  const files = new Map<string, string>();
  for (const { step } of standing(records)) {
    if (step.kind === "file") files.set(step.path, step.sha256);
    else if (step.kind === "remove") files.delete(step.path);
  }
  const { version, device } = verified;
  return { version, device, files: [...files].map(([path, sha256]) => ({ path, sha256 })) };
}

/** @param offline ask no metadata service */
export async function realContext(prefix: string, offline: boolean): Promise<Context> {
  const [host, facts, installed] = await Promise.all([
    realHost(),
    // Every device is looked at, also those behind one that works.
    detect({ prefix, offline, everyDevice: true }),
    readInstalled(prefix),
  ]);
  return { host, facts, prefix, installed, fingerprint, runHello, env: process.env };
}
