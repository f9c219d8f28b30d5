// SPDX-License-Identifier: Apache-2.0
// Registers the runtime with the container engines that are there. Only when this package has a runtime to register.
import { join } from "node:path";
import { ConfigError } from "../../base/config-text.js";
import { PODMAN_DROP_IN } from "../etc.js";
import type { HostFacts } from "../facts.js";
import { type Problem, problem } from "../reasons.js";
import { withContainerdRuntime } from "./containerd.js";
import { textSteps } from "./kkm.js";
import { dockerPart, dockerRuntime, podmanDropIn, withDockerRuntime } from "./merge.js";
import type { Step } from "./steps.js";

/** The runtime, relative to the prefix. */
export const RUNTIME = "bin/krun";
/** Names it is registered under: the second where the first is somebody else's (Fedora's crun-krun). */
export const NAMES = ["krun", "kontain"] as const;

export interface EngineSteps {
  steps: Step[];
  notes: string[];
  problem?: Problem;
}

function dockerSteps(facts: HostFacts, path: string): EngineSteps {
  const docker = facts.engines.docker;
  if (!docker) return { steps: [], notes: [] };
  if (docker.how === "desktop") {
    return { steps: [], notes: ["Docker Desktop runs containers in its own machine: not registered there"] };
  }
  if (docker.how === "snap") {
    return {
      steps: [],
      notes: ["docker is a snap, which cannot run programs of the host: install docker-ce instead"],
    };
  }
  if (docker.how === "rootless") {
    return {
      steps: [],
      notes: [`docker is rootless: its user adds the runtime ${path} to ${docker.config}`],
    };
  }
  const text = facts.etc[docker.config] ?? "";
  try {
    const name = NAMES.find((candidate) => {
      const taken = dockerRuntime(text, docker.config, candidate);
      return taken === undefined || taken === path;
    });
    if (!name)
      return { steps: [], notes: [`docker has other runtimes named ${NAMES.join(" and ")}: not registered`] };
    if (dockerRuntime(text, docker.config, name) === path) return { steps: [], notes: [] };
    const content = withDockerRuntime(text, docker.config, name, path);
    const why = `runtime ${name}; all else stays`;
    const part = dockerPart(name, path);
    return {
      steps: textSteps(facts, [{ path: docker.config, content, mode: 0o644, why, part }]),
      notes: [`docker knows --runtime ${name} after: systemctl reload docker`],
    };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { steps: [], notes: [], problem: problem("engine-config-broken", error.message) };
  }
}

function containerdSteps(facts: HostFacts, path: string): EngineSteps {
  const { containerd } = facts.engines;
  if (!containerd) return { steps: [], notes: [] };
  const main = facts.etc[containerd.config] ?? null;
  try {
    const { config: file, version } = containerd;
    const change = withContainerdRuntime({ main, file, version }, NAMES, path);
    if (change.kind === "known") return { steps: [], notes: [] };
    if (change.kind === "note") return { steps: [], notes: [change.note] };
    const why = `runtime ${change.name} for Kubernetes; all else stays`;
    const { path: target, content, part } = change;
    const steps = textSteps(facts, [{ path: target, content, mode: 0o644, why, ...(part ? { part } : {}) }]);
    if (steps.length === 0) return { steps, notes: [] };
    return {
      steps,
      notes: [
        `containerd has runtime ${change.name} after: systemctl restart containerd ` +
          `(a RuntimeClass with handler ${change.name} picks it)`,
      ],
    };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { steps: [], notes: [], problem: problem("engine-config-broken", error.message) };
  }
}

/** Steps for docker, podman and containerd. */
export function engineSteps(facts: HostFacts, prefix: string): EngineSteps {
  if (!facts.bundle.files.some(({ target }) => target === RUNTIME)) return { steps: [], notes: [] };
  if (facts.user.uid !== 0)
    return { steps: [], notes: ["container engines are registered when run as root"] };
  const path = join(prefix, RUNTIME);
  const docker = dockerSteps(facts, path);
  const containerd = containerdSteps(facts, path);
  const podman = facts.engines.podman
    ? textSteps(facts, [
        {
          path: PODMAN_DROP_IN,
          content: podmanDropIn("krun", path),
          mode: 0o644,
          why: "runtime krun for podman",
        },
      ])
    : [];
  const stopped = docker.problem ?? containerd.problem;
  return {
    steps: [...docker.steps, ...podman, ...containerd.steps],
    notes: [...docker.notes, ...containerd.notes],
    ...(stopped ? { problem: stopped } : {}),
  };
}
