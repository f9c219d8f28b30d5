// SPDX-License-Identifier: Apache-2.0
// Configuration files of others: read strictly, and when they are broken say where.
import { parse, TomlError } from "smol-toml";
import { jsonFault } from "./json-fault.js";

export class ConfigError extends Error {
  override name = "ConfigError";
}

/** "3:14" for an offset into a text, counted from one. */
export function placeIn(text: string, offset: number): string {
  const before = text.slice(0, offset).split("\n");
  return `${before.length}:${(before.at(-1)?.length ?? 0) + 1}`;
}

/** Bytes that are no UTF-8 read as this character: a file that has them cannot be written back as it was. */
function checkBytes(text: string, path: string): void {
  const at = text.indexOf("\ufffd");
  if (at >= 0) throw new ConfigError(`${path}:${placeIn(text, at)}: not valid UTF-8`);
}

/**
 * Parses JSON that has to be an object. An empty file is an empty object, as docker takes it.
 * @throws ConfigError "PATH:LINE:COLUMN: what is wrong"
 */
export function parseJsonObject(text: string, path: string): Record<string, unknown> {
  checkBytes(text, path);
  if (text.trim() === "") return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const { offset, what } = jsonFault(text) ?? { offset: 0, what: "it cannot be read" };
    throw new ConfigError(`${path}:${placeIn(text, offset)}: not valid JSON: ${what}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ConfigError(`${path}:1:1: holds no JSON object`);
  }
  return value as Record<string, unknown>;
}

/**
 * Parses TOML.
 * @throws ConfigError "PATH:LINE:COLUMN: what is wrong"
 */
export function parseTomlTable(text: string, path: string): Record<string, unknown> {
  checkBytes(text, path);
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = error.message.split("\n")[0]?.replace(/^Invalid TOML document: /, "");
    throw new ConfigError(`${path}:${error.line}:${error.column}: not valid TOML: ${what}`);
  }
}
