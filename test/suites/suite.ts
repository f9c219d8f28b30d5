// SPDX-License-Identifier: Apache-2.0
// What a suite is: parts, each a command whose output says which of its cases passed.
import type { Verdicts } from "./verdicts.js";

export interface Part {
  readonly name: string;
  readonly command: readonly string[];
  /** Working directory; default: an empty one, gone afterwards. */
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Bound on one run. */
  readonly seconds: number;
  readonly verdicts: (output: string, status: number | string) => Verdicts;
}

export interface Suite {
  readonly name: string;
  readonly title: string;
  /** Parts of the short form, which belongs to `npm test`. */
  readonly quick: readonly string[];
  /** What is run neither natively nor under km, and why. */
  readonly excluded: readonly { readonly name: string; readonly reason: string }[];
  /** Fetches and builds what it needs. Returns the parts, or in one line why there are none and what would help. */
  readonly prepare: (wanted?: readonly string[]) => Promise<readonly Part[] | string>;
}
