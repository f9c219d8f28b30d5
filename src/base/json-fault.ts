// SPDX-License-Identifier: Apache-2.0
// Where a text stops being JSON. JSON.parse says it only at times, differently in each version of Node, and quotes the
// text, in which there may be a password.

import { type Kind, tokenAt } from "./json-tokens.js";

/** What may stand where. */
const VALUE: readonly Kind[] = ["{", "[", "string", "literal"];
const ALLOWED = {
  value: VALUE,
  item: [...VALUE, "]"],
  key: ["string"],
  firstKey: ["string", "}"],
  colon: [":"],
  afterMember: [",", "}"],
  afterItem: [",", "]"],
  end: [],
} as const satisfies Record<string, readonly Kind[]>;

type State = keyof typeof ALLOWED;

export interface Fault {
  /** Offset of the first token that does not fit; the text's length where it ends too early. */
  offset: number;
  what: string;
}

/** The state after a value, by what it stands in. */
function after(nest: readonly ("{" | "[")[]): State {
  const inner = nest.at(-1);
  return inner === undefined ? "end" : inner === "{" ? "afterMember" : "afterItem";
}

function next(kind: Kind, state: State, nest: ("{" | "[")[]): State {
  if (kind === "{" || kind === "[") {
    nest.push(kind);
    return kind === "{" ? "firstKey" : "item";
  }
  if (kind === "}" || kind === "]") {
    nest.pop();
    return after(nest);
  }
  if (kind === ",") return nest.at(-1) === "{" ? "key" : "value";
  if (kind === ":") return "value";
  return state === "key" || state === "firstKey" ? "colon" : after(nest);
}

/** The first fault of a text that is not JSON; undefined for one that is. */
export function jsonFault(text: string): Fault | undefined {
  const nest: ("{" | "[")[] = [];
  let state: State = "value";
  for (let at = 0; ; ) {
    const token = tokenAt(text, at);
    if (!token) {
      return state === "end" ? undefined : { offset: text.trimEnd().length, what: "it ends too early" };
    }
    const { kind, start, end } = token;
    const allowed: readonly Kind[] = ALLOWED[state];
    if (!kind || !allowed.includes(kind)) {
      const mark = kind && kind.length === 1 ? `"${kind}"` : undefined;
      const seen = mark ?? (kind === "string" ? "text in quotes" : "word or character");
      const missing = allowed.length === 1 ? `, "${allowed[0]}" is missing` : "";
      return { offset: start, what: `unexpected ${seen}${allowed[0] === "string" ? "" : missing}` };
    }
    state = next(kind, state, nest);
    at = end;
  }
}
