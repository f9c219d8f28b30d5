// SPDX-License-Identifier: Apache-2.0
// Takes our part out of a file that its owner has changed since. Everything else stays, byte for byte.
import { isDeepStrictEqual } from "node:util";
import { ConfigError, parseJsonObject, parseTomlTable } from "../../base/config-text.js";
import { withoutMember } from "../../base/json-edit.js";
import type { Part } from "../plan/steps.js";

interface Left {
  /** What the file is to hold; null: it is to go; absent: it stays as it is. */
  content?: string | null;
  /** What is left to be done by hand. */
  note?: string;
}

type JsonPart = Extract<Part, { json: string[] }>;

/** What is at the end of a path of keys. */
function valueAt(value: unknown, keys: readonly string[]): unknown {
  let at = value;
  for (const key of keys) {
    at =
      typeof at === "object" && at !== null && Object.hasOwn(at, key)
        ? at[key as keyof typeof at]
        : undefined;
  }
  return at;
}

const isEmpty = (value: unknown) => isDeepStrictEqual(value, {});

/** Whether what is there now is still what was put there; more may have been added to it. */
function isOurs(now: unknown, ours: Record<string, unknown>): boolean {
  return Object.entries(ours).every(([key, value]) => isDeepStrictEqual(valueAt(now, [key]), value));
}

function withoutJson(
  text: string,
  before: string | undefined,
  { json, value }: JsonPart,
  path: string,
): Left {
  const now = parseJsonObject(text, path);
  if (valueAt(now, json) === undefined || !isOurs(valueAt(now, json), value)) return {};
  const was = parseJsonObject(before ?? "", path);
  let content = withoutMember(text, json);
  // Objects that were made for it go too, if nobody has put anything into them.
  for (let keys = json.slice(0, -1); keys.length > 0; keys = keys.slice(0, -1)) {
    if (valueAt(was, keys) !== undefined || !isEmpty(valueAt(parseJsonObject(content, path), keys))) break;
    content = withoutMember(content, keys);
  }
  const rest = parseJsonObject(content, path);
  if (before === undefined && isEmpty(rest)) return { content: null };
  const name = json.at(-1);
  const named = Object.keys(rest).filter((key) => rest[key] === name);
  if (named.length === 0) return { content };
  return { content, note: `${path}: ${named.join(", ")} still names ${name}, which is gone: change it` };
}

function withoutLines(text: string, added: string, path: string): Left {
  parseTomlTable(text, path);
  const at = text.indexOf(added);
  if (at >= 0) return { content: text.slice(0, at) + text.slice(at + added.length) };
  const lines = new Set(text.split("\n").map((line) => line.trim()));
  const heads = added.split("\n").map((line) => line.trim());
  const left = heads.filter((line) => line.startsWith("[") && lines.has(line));
  return left.length === 0 ? {} : { note: `${path} was changed: take out by hand ${left.join(", ")}` };
}

/**
 * @param text what the file holds
 * @param before what it held before our part came; undefined: it was not there
 * @param path of the file, for what is said
 */
export function withoutPart(text: string, before: string | undefined, part: Part, path: string): Left {
  try {
    return "text" in part ? withoutLines(text, part.text, path) : withoutJson(text, before, part, path);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { note: `${error.message}: left as it is; take out what names kontain by hand` };
  }
}
