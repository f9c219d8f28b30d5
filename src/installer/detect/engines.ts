// SPDX-License-Identifier: Apache-2.0
// Container engines: which, how they were installed, and whether their configuration can be read.
import { ConfigError, parseJsonObject, parseTomlTable } from "../../base/config-text.js";
import { exists, type Host } from "../../base/host.js";
import type { EngineFacts } from "../facts.js";

export const DOCKER_CONFIG = "/etc/docker/daemon.json";
export const SNAP_DOCKER_CONFIG = "/var/snap/docker/current/config/daemon.json";
export const CONTAINERD_CONFIG = "/etc/containerd/config.toml";

async function problemOf(check: () => unknown): Promise<string | null> {
  try {
    await check();
    return null;
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
}

async function versionOf(host: Host, path: string): Promise<string | null> {
  return /\d+\.\d+[\w.+~-]*/.exec((await host.run(path, "--version"))?.stdout ?? "")?.[0] ?? null;
}

type DockerKind = NonNullable<EngineFacts["docker"]>["how"];

async function dockerKind(host: Host, path: string, rootlessConfig: string): Promise<DockerKind> {
  const target = (await host.readLink(path)) ?? "";
  if (path.startsWith("/snap/") || target.startsWith("/snap/") || target === "/usr/bin/snap") return "snap";
  if ((await exists(host, "/opt/docker-desktop")) || (await exists(host, "/mnt/wsl/docker-desktop"))) {
    return "desktop";
  }
  if (await host.which("dockerd")) {
    const system = (await exists(host, "/run/docker.sock")) || (await exists(host, DOCKER_CONFIG));
    const own =
      (await exists(host, `/run/user/${host.user.uid}/docker.sock`)) || (await exists(host, rootlessConfig));
    if (!system && own) return "rootless";
  }
  return "package";
}

async function detectDocker(host: Host): Promise<EngineFacts["docker"]> {
  const path = await host.which("docker");
  if (!path) return null;
  const home = host.user.uid === 0 ? "/root" : `/home/${host.user.name}`;
  const rootlessConfig = `${home}/.config/docker/daemon.json`;
  const how = await dockerKind(host, path, rootlessConfig);
  const config = how === "snap" ? SNAP_DOCKER_CONFIG : how === "rootless" ? rootlessConfig : DOCKER_CONFIG;
  const text = await host.readFile(config);
  const socket = how === "rootless" ? `/run/user/${host.user.uid}/docker.sock` : "/run/docker.sock";
  return {
    how,
    path,
    version: await versionOf(host, path),
    config,
    configProblem: text === undefined ? null : await problemOf(() => parseJsonObject(text, config)),
    running: (await exists(host, socket)) || (await exists(host, "/var/run/docker.sock")),
  };
}

async function detectPodman(host: Host): Promise<EngineFacts["podman"]> {
  const path = await host.which("podman");
  return path ? { path, version: await versionOf(host, path) } : null;
}

async function detectContainerd(host: Host): Promise<EngineFacts["containerd"]> {
  const path = await host.which("containerd");
  if (!path) return null;
  const text = await host.readFile(CONTAINERD_CONFIG);
  const configProblem =
    text === undefined ? null : await problemOf(() => parseTomlTable(text, CONTAINERD_CONFIG));
  return { path, version: await versionOf(host, path), config: CONTAINERD_CONFIG, configProblem };
}

export async function detectEngines(host: Host): Promise<EngineFacts> {
  const [docker, podman, containerd] = await Promise.all([
    detectDocker(host),
    detectPodman(host),
    detectContainerd(host),
  ]);
  const kubelet =
    Boolean(await host.which("kubelet")) || (await exists(host, "/var/lib/kubelet/config.yaml"));
  return { docker, podman, containerd, kubelet };
}
