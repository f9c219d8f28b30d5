// SPDX-License-Identifier: Apache-2.0
// Adds a runtime to the configuration of container engines, keeping what is there.
import { parseJsonObject } from "../../base/config-text.js";

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
