// SPDX-License-Identifier: Apache-2.0
// Adds a runtime to the configuration of container engines, keeping what is there.
import { parseJsonObject, parseTomlTable } from "../../base/config-text.js";

function indentOf(text: string): string | number {
  return /^\{\r?\n([ \t]+)"/.exec(text.trimStart())?.[1] ?? 2;
}

/**
 * docker's daemon.json with a runtime added. Order, indentation and every other key stay.
 * @throws ConfigError with line and column where the file is no JSON object
 */
export function withDockerRuntime(text: string, file: string, name: string, path: string): string {
  const config = parseJsonObject(text, file);
  const known = config.runtimes;
  const runtimes = typeof known === "object" && known !== null && !Array.isArray(known) ? known : {};
  const merged = { ...config, runtimes: { ...runtimes, [name]: { path } } };
  const tail = text === "" || text.endsWith("\n") ? "\n" : "";
  return `${JSON.stringify(merged, null, indentOf(text))}${tail}`;
}

/** The runtime docker has under this name: its path, or undefined. */
export function dockerRuntime(text: string, file: string, name: string): string | undefined {
  const runtimes = parseJsonObject(text, file).runtimes as Record<string, { path?: string }> | undefined;
  return runtimes?.[name]?.path;
}

const toml = (text: string) => JSON.stringify(text);

/** A drop-in for podman's containers.conf. */
export function podmanDropIn(name: string, path: string): string {
  return `# Written by kontain-install.\n[engine.runtimes]\n${toml(name)} = [${toml(path)}]\n`;
}

/** The plugin that holds CRI runtimes in each version of containerd's configuration. */
const CRI_PLUGIN: Record<number, string> = {
  2: "io.containerd.grpc.v1.cri",
  3: "io.containerd.cri.v1.runtime",
};

/**
 * A drop-in for containerd that fits the version of its main file.
 * `imported`: the main file reads drop-ins from conf.d; without that the drop-in has no effect.
 * @throws ConfigError with line and column where the main file is no TOML
 */
export async function containerdDropIn(
  main: string,
  file: string,
  name: string,
  path: string,
): Promise<{ content: string; imported: boolean }> {
  const config = await parseTomlTable(main, file);
  const version = Number(config.version ?? 2);
  const plugin = CRI_PLUGIN[version] ?? CRI_PLUGIN[2];
  const imports = Array.isArray(config.imports) ? config.imports.map(String) : [];
  const table = `plugins.${toml(plugin ?? "")}.containerd.runtimes.${name}`;
  return {
    content: [
      "# Written by kontain-install.",
      `version = ${version}`,
      `[${table}]`,
      '  runtime_type = "io.containerd.runc.v2"',
      `  [${table}.options]`,
      `    BinaryName = ${toml(path)}`,
      "",
    ].join("\n"),
    imported: imports.some((glob) => /\/conf\.d\/\*(\.toml)?$/.test(glob)),
  };
}
