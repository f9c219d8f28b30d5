// SPDX-License-Identifier: Apache-2.0
// A JSON text as its tokens (RFC 8259), each with its place.

export type Kind = "{" | "}" | "[" | "]" | "," | ":" | "string" | "literal";

export interface Token {
  /** undefined: what is there is no token of JSON. */
  kind: Kind | undefined;
  start: number;
  end: number;
}

const TOKEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those JSON has no place for in a string
  /(?:([{}[\],:])|("(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|((?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-])))/y;

/** The first token at or behind an offset; undefined at the end of the text. */
export function tokenAt(text: string, at: number): Token | undefined {
  const rest = /[^ \t\r\n]/g;
  rest.lastIndex = at;
  const start = rest.exec(text)?.index;
  if (start === undefined) return undefined;
  TOKEN.lastIndex = start;
  const [all, mark, string, literal] = TOKEN.exec(text) ?? [];
  const kind = mark ?? (string ? "string" : literal ? "literal" : undefined);
  return { kind: kind as Kind | undefined, start, end: start + (all ?? "").length };
}
