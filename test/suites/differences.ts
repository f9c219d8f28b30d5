// SPDX-License-Identifier: Apache-2.0
// The checked-in lists of what differs. They can only shrink: an entry that no longer differs is an error.
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Difference } from "./verdicts.js";

/** Reads the list of a suite; throws when an entry lacks its part, its case or its reason, or comes twice. */
export function differencesOf(suite: string): readonly Difference[] {
  const file = fileURLToPath(new URL(`differences/${suite}.json`, import.meta.url));
  if (!existsSync(file)) return [];
  const list: Partial<Difference>[] = JSON.parse(readFileSync(file, "utf8"));
  const seen = new Set<string>();
  return list.map(({ part, case: name, reason }) => {
    const id = `${part} ${name}`;
    if (!part || !name || !reason) throw new Error(`${file}: ${id}: part, case and reason are needed`);
    if (seen.has(id)) throw new Error(`${file}: ${id} is listed twice`);
    seen.add(id);
    return { part, case: name, reason };
  });
}
