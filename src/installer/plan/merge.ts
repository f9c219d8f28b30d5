// SPDX-License-Identifier: Apache-2.0
// Adds a runtime to the configuration of container engines, keeping what is there.
import { ConfigError, parseJsonObject, placeIn } from "../../base/config-text.js";
import { offsetOf, withMember } from "../../base/json-edit.js";
import type { Part } from "./steps.js";

/** docker's runtimes by name. */
function dockerRuntimes(text: string, file: string): Record<string, { path?: string }> {
  const { runtimes = {} } = parseJsonObject(text, file);
  if (typeof runtimes === "object" && runtimes !== null && !Array.isArray(runtimes)) {
    return runtimes as Record<string, { path?: string }>;
  }
  throw new ConfigError(`${file}:${placeIn(text, offsetOf(text, ["runtimes"]))}: "runtimes" is no object`);
}

/** What of daemon.json is ours. */
export const dockerPart = (name: string, path: string): Part => ({
  json: ["runtimes", name],
  value: { path },
});

/**
 * docker's daemon.json with a runtime added; every other byte stays.
 * @param name one that no runtime has yet
 * @throws ConfigError with line and column where the file is no JSON object
 */
export function withDockerRuntime(text: string, file: string, name: string, path: string): string {
  dockerRuntimes(text, file);
  const added = withMember(text.trim() === "" ? "{}" : text, ["runtimes", name], { path });
  return text.trim() === "" ? `${added}\n` : added;
}

/** The runtime docker has under this name: its path ("" where it says none), or undefined. */
export function dockerRuntime(text: string, file: string, name: string): string | undefined {
  const runtimes = dockerRuntimes(text, file);
  return Object.hasOwn(runtimes, name) ? (runtimes[name]?.path ?? "") : undefined;
}

const toml = (text: string) => JSON.stringify(text);

/** A drop-in for podman's containers.conf. */
export function podmanDropIn(name: string, path: string): string {
  return `# Written by kontain-install.\n[engine.runtimes]\n${toml(name)} = [${toml(path)}]\n`;
}
