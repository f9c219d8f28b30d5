// SPDX-License-Identifier: Apache-2.0
// Adds a member to a JSON document, and takes one out, without touching a byte of the rest: order, spaces, numbers and
// escapes stay as their author wrote them, which they do not where a document is parsed and written anew.
import { tokenAt } from "./json-tokens.js";

interface Member {
  key: string;
  /** Of the key's quote. */
  start: number;
  value: { start: number; end: number };
}

interface ObjectSpan {
  start: number;
  /** Behind the closing brace. */
  end: number;
  members: Member[];
}

function token(text: string, at: number) {
  const found = tokenAt(text, at);
  if (!found?.kind) throw new Error("not a JSON document");
  return found;
}

/** The end of the value whose first token is at `at`. */
function valueEnd(text: string, at: number): number {
  for (let depth = 0, next = at; ; ) {
    const { kind, end } = token(text, next);
    if (kind === "{" || kind === "[") depth++;
    if (kind === "}" || kind === "]") depth--;
    if (depth === 0) return end;
    next = end;
  }
}

/** The object at or behind an offset; undefined where another value is there. */
function objectAt(text: string, at: number): ObjectSpan | undefined {
  const open = token(text, at);
  if (open.kind !== "{") return undefined;
  const members: Member[] = [];
  for (let next = open.end; ; ) {
    const key = token(text, next);
    if (key.kind === "}") return { start: open.start, end: key.end, members };
    if (key.kind === ",") {
      next = key.end;
      continue;
    }
    const colon = token(text, key.end);
    const { start } = token(text, colon.end);
    const end = valueEnd(text, start);
    members.push({
      key: JSON.parse(text.slice(key.start, key.end)),
      start: key.start,
      value: { start, end },
    });
    next = end;
  }
}

/** The objects along a path, outermost first, as far as they are there; of a key that is there twice the last counts. */
function objectsAlong(text: string, path: readonly string[]): ObjectSpan[] {
  const objects: ObjectSpan[] = [];
  let object = objectAt(text, 0);
  for (const key of path) {
    if (!object) break;
    objects.push(object);
    const member = object.members.findLast((one) => one.key === key);
    object = member && objectAt(text, member.value.start);
  }
  return objects;
}

/** Where the member at a path begins; 0 where there is none. */
export function offsetOf(text: string, path: readonly string[]): number {
  const from = objectsAlong(text, path)[path.length - 1];
  return from?.members.findLast(({ key }) => key === path.at(-1))?.start ?? 0;
}

/** White space between a brace and what is behind it. */
function gapBehind(text: string, brace: number): string {
  return /^[ \t\r\n]*/.exec(text.slice(brace + 1))?.[0] ?? "";
}

/** The line ending and the indentation of one level; undefined: the document is all in one line. */
function layoutOf(text: string, top: ObjectSpan): { newline: string; unit: string } | undefined {
  if (top.members.length === 0) return { newline: text.includes("\r\n") ? "\r\n" : "\n", unit: "  " };
  const [, newline, unit] = /(\r?\n)([ \t]*)$/.exec(gapBehind(text, top.start)) ?? [];
  return newline === undefined ? undefined : { newline, unit: unit || "  " };
}

/** A value in one line. */
function flat(value: unknown): string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return JSON.stringify(value);
  const members = Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}: ${flat(inner)}`);
  return `{${members.join(", ")}}`;
}

/** The lines of a member. */
function memberLines(key: string, value: unknown, unit: string): string[] {
  const lines = JSON.stringify({ [key]: value }, null, unit)
    .split("\n")
    .slice(1, -1);
  return lines.map((line) => line.slice(unit.length));
}

/**
 * A document with one member more.
 * @param text a JSON object
 * @param path keys from the outermost object on; the last is the member's, and not there yet. What is on the way is an
 * object, or not there
 */
export function withMember(text: string, path: readonly string[], value: unknown): string {
  const objects = objectsAlong(text, path);
  const [top] = objects;
  const into = objects.at(-1);
  const key = path[objects.length - 1];
  if (!top || !into || key === undefined) throw new Error("not a JSON object");
  const missing = path.slice(objects.length);
  const whole = missing.reduceRight<unknown>((inner, name) => ({ [name]: inner }), value);
  const last = into.members.at(-1);
  const layout = layoutOf(text, top);
  const gap = gapBehind(text, into.start);
  const insert = (at: number, what: string) => text.slice(0, at) + what + text.slice(at);
  if (!layout || (last && !gap.includes("\n"))) {
    const line = `${JSON.stringify(key)}: ${flat(whole)}`;
    return last ? insert(last.value.end, `, ${line}`) : insert(into.start + 1, line);
  }
  const { newline, unit } = layout;
  const margin = last ? gap.slice(gap.lastIndexOf("\n") + 1) : unit.repeat(objects.length);
  const lines = memberLines(key, whole, unit).map((line) => newline + margin + line);
  if (last) return insert(last.value.end, `,${lines.join("")}`);
  const closing = gap.includes("\n") ? "" : newline + unit.repeat(objects.length - 1);
  return insert(into.start + 1, lines.join("") + closing);
}

/** A document without the member at a path; the same where there is none. */
export function withoutMember(text: string, path: readonly string[]): string {
  const objects = objectsAlong(text, path);
  const from = objects.length === path.length ? objects.at(-1) : undefined;
  const at = from?.members.findLastIndex(({ key }) => key === path.at(-1)) ?? -1;
  const member = from?.members[at];
  if (!from || !member) return text;
  const cut = (start: number, end: number) => text.slice(0, start) + text.slice(end);
  const before = from.members[at - 1];
  const after = from.members[at + 1];
  // With the comma before it, else the one behind it; alone it leaves an empty object.
  if (before) return cut(before.value.end, member.value.end);
  return after ? cut(member.start, after.start) : cut(from.start + 1, from.end - 1);
}
