// SPDX-License-Identifier: Apache-2.0
// Adds a runtime to containerd's configuration, keeping what is there. From 2.0 on containerd merges drop-ins into its
// main file; before, a drop-in replaces the whole section of a plugin, and with it what the main file says there
// (containerd issue 5837, pull request 9982). So the runtime is a drop-in only where those are merged and read, and
// otherwise a table at the end of the main file.
import { isDeepStrictEqual } from "node:util";
import { ConfigError, parseTomlTable } from "../../base/config-text.js";
import { CONTAINERD_DROP_IN } from "../etc.js";
import type { Part } from "./steps.js";

type Table = Record<string, unknown>;

/** The plugin that holds CRI's runtimes, by version of the configuration's format. */
const CRI_PLUGIN: Record<number, string> = {
  1: "cri",
  2: "io.containerd.grpc.v1.cri",
  3: "io.containerd.cri.v1.runtime",
  4: "io.containerd.cri.v1.runtime",
};

/** Names under which CRI is switched off. */
const CRI_NAMES = ["cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];

export interface Containerd {
  /** Content of the main file; null: it is not there. */
  main: string | null;
  file: string;
  /** What `containerd --version` says; null where it cannot be read. */
  version: string | null;
}

/** write: one file and its whole new content, and what of it is ours if not all; note: why nothing is written. */
export type ContainerdChange =
  | { kind: "write"; path: string; content: string; name: string; part?: Part }
  | { kind: "known" }
  | { kind: "note"; note: string };

const quoted = (text: string) => JSON.stringify(text);

function tableAt(value: unknown, ...keys: string[]): Table {
  let at = value;
  for (const key of keys) at = typeof at === "object" && at !== null ? (at as Table)[key] : undefined;
  return typeof at === "object" && at !== null ? (at as Table) : {};
}

/**
 * The tables to add. One runtime named takes the place of containerd's built-in list, so that runc has to be named too
 * where it is not yet.
 */
function runtimeText(plugin: string, name: string, binary: string, withRunc: boolean): string {
  const table = `plugins.${quoted(plugin)}.containerd.runtimes`;
  const type = '  runtime_type = "io.containerd.runc.v2"';
  return [
    ...(withRunc ? [`[${table}.runc]`, type] : []),
    `[${table}.${name}]`,
    type,
    `  [${table}.${name}.options]`,
    `    BinaryName = ${quoted(binary)}`,
    "",
  ].join("\n");
}

/** Whether drop-ins are merged into the main file, and read. */
function takesDropIns(config: Table, { main, version }: Containerd): boolean {
  const [major = 0, minor = 0] = (version ?? "").split(".").map(Number);
  if (major < 2) return false;
  // 2.2 is the first whose own defaults import the folder.
  if (main === null) return major > 2 || minor >= 2;
  const imports = Array.isArray(config.imports) ? config.imports.map(String) : [];
  return imports.some((glob) => glob === "/etc/containerd/conf.d/*.toml");
}

/** The main file with a table behind it; undefined where TOML does not allow one there (an inline table, say). */
function appended(main: string, file: string, table: string): string | undefined {
  const gap = main === "" || main.endsWith("\n") ? "" : "\n";
  const content = `${main}${gap}${table}`;
  try {
    const [before, added, after] = [main, table, content].map((text) => parseTomlTable(text, file));
    return isDeepStrictEqual(after, merged(before, added)) ? content : undefined;
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

/** Two tables, each key of `more` set in `base`. */
function merged(base: unknown, more: unknown): unknown {
  const isTable = (value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
  if (!isTable(base) || !isTable(more)) return more;
  // The parser's tables have no prototype, and are compared with theirs.
  const result: Table = Object.assign(Object.create(Object.getPrototypeOf(base)), base);
  for (const [key, value] of Object.entries(more as Table)) {
    result[key] = key in result ? merged(result[key], value) : value;
  }
  return result;
}

/**
 * What has to be written so that containerd's CRI knows `binary`.
 * @param names to register it under, the first that nobody else has
 * @throws ConfigError with line and column where the main file is no TOML
 */
export function withContainerdRuntime(
  containerd: Containerd,
  names: readonly string[],
  binary: string,
): ContainerdChange {
  const { main, file, version } = containerd;
  const note = (why: string): ContainerdChange => ({ kind: "note", note: `containerd: ${why}` });
  const config = parseTomlTable(main ?? "", file);
  const fresh = (version ?? "").startsWith("1.") ? 2 : 3;
  const format = Number(config.version ?? (main === null ? fresh : 1));
  const plugin = CRI_PLUGIN[format];
  if (!plugin) return note(`version ${format} of ${file} is not known here: runtime not registered`);
  const disabled = Array.isArray(config.disabled_plugins) ? config.disabled_plugins : [];
  if (disabled.some((entry) => CRI_NAMES.includes(String(entry)))) {
    return note(
      `its CRI is switched off in ${file}, so nothing of Kubernetes asks it: runtime not registered`,
    );
  }
  const runtimes = tableAt(config, "plugins", plugin, "containerd", "runtimes");
  const has = (name: string) => tableAt(runtimes, name, "options").BinaryName;
  if (names.some((name) => has(name) === binary)) return { kind: "known" };
  const name = names.find((candidate) => !(candidate in runtimes));
  if (!name) return note(`it has other runtimes named ${names.join(" and ")}: not registered`);
  const usual = tableAt(config, "plugins", plugin, "containerd").default_runtime_name ?? "runc";
  const table = runtimeText(plugin, name, binary, usual === "runc" && !("runc" in runtimes));
  if (takesDropIns(config, containerd)) {
    const content = `# Written by kontain-install.\nversion = ${format}\n\n${table}`;
    return { kind: "write", path: CONTAINERD_DROP_IN, content, name };
  }
  const added = `\n# Added by kontain-install.\n${table}`;
  const content = appended(main ?? `version = ${format}\n`, file, added);
  if (content === undefined) {
    return note(
      `${file} holds its plugins as inline tables; add by hand: ${table.trim().replace(/\n\s*/g, " ; ")}`,
    );
  }
  return { kind: "write", path: file, content, name, part: { text: added } };
}
