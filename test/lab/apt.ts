// SPDX-License-Identifier: Apache-2.0
// A private apt per Debian release: its own lists, caches and empty dpkg status under the lab's cache, so that the
// host's apt is neither read for packages nor changed. The host's apt.conf.d (proxies and the like) stays in force.

import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { cachePath, withLock } from "./cache.js";
import { messageOf, Unavailable } from "./errors.js";
import { type ReleaseName, releases } from "./kernels.js";
import { debianMirrors } from "./mirrors.js";

/** A package as apt would install it. */
export interface Package {
  readonly name: string;
  readonly version: string;
  /** Names in Depends, the first of each list of alternatives. */
  readonly depends: readonly string[];
}

const updated = new Map<ReleaseName, Promise<void>>();

function sourcesList(release: ReleaseName): string {
  const { main, security, keyring } = debianMirrors();
  const lines = releases[release].suites.map((suite) => {
    const uri = suite.endsWith("-security") ? security : main;
    return `deb [arch=amd64 signed-by=${keyring}] ${uri} ${suite} main\n`;
  });
  return lines.join("");
}

function options(release: ReleaseName): string[] {
  const root = cachePath("apt", release);
  const settings = {
    "Dir::Etc::sourcelist": join(root, "sources.list"),
    "Dir::Etc::sourceparts": "/dev/null",
    "Dir::Etc::preferences": "/dev/null",
    "Dir::Etc::preferencesparts": "/dev/null",
    "Dir::State": join(root, "state"),
    "Dir::State::status": join(root, "status"),
    "Dir::Cache": join(root, "cache"),
    "APT::Sandbox::User": "root",
    "APT::Architecture": "amd64",
    "APT::Get::List-Cleanup": "false",
    "Acquire::Languages": "none",
    "Acquire::Retries": "2",
    // an old release's index says it has expired; its signature is still checked
    "Acquire::Check-Valid-Until": "false",
  };
  return Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
}

async function apt(program: string, release: ReleaseName, args: string[], cwd = "/"): Promise<string> {
  const env = { LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" };
  const result = await execa(program, [...options(release), ...args], {
    cwd,
    env,
    reject: false,
    stdin: "ignore",
  });
  if (!result.failed) return result.stdout;
  const lines = `${result.stderr ?? ""}\n${result.message ?? ""}`.split("\n");
  const reason = lines.find((line) => line.startsWith("E:")) ?? lines.find((line) => line.trim() !== "");
  throw new Unavailable(`${program} ${args[0]} for ${release}: ${reason ?? "failed"}`);
}

/** Reads the release's package lists, once per process. */
export function update(release: ReleaseName): Promise<void> {
  const running = updated.get(release);
  if (running) return running;
  const started = withLock(`apt/${release}`, async () => {
    const root = cachePath("apt", release);
    await mkdir(join(root, "state/lists/partial"), { recursive: true });
    await mkdir(join(root, "cache/archives/partial"), { recursive: true });
    await writeFile(join(root, "status"), "");
    await writeFile(join(root, "sources.list"), sourcesList(release));
    await apt("apt-get", release, ["--error-on=any", "update"]);
  });
  updated.set(release, started);
  return started;
}

/** The newest version of a package in a release. */
export async function show(release: ReleaseName, name: string): Promise<Package> {
  await update(release);
  const text = await apt("apt-cache", release, ["show", "--no-all-versions", name]);
  const field = (key: string) => new RegExp(`^${key}: (.*)$`, "m").exec(text)?.[1];
  const version = field("Version");
  if (!version) throw new Unavailable(`${release} has no package ${name}`);
  const depends = (field("Depends") ?? "")
    .split(",")
    .map((relation) => /^\s*([a-z0-9][a-z0-9.+-]*)/.exec(relation)?.[1])
    .filter((found) => found !== undefined);
  return { name, version, depends };
}

/** `names` and whatever they depend on, as far as `follow` says yes. */
export async function closure(
  release: ReleaseName,
  names: readonly string[],
  follow: (name: string) => boolean,
): Promise<Package[]> {
  const found = new Map<string, Package>();
  const queue = [...names];
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    if (found.has(name)) continue;
    const info = await show(release, name);
    found.set(name, info);
    queue.push(...info.depends.filter(follow));
  }
  return [...found.values()];
}

/** All packages that an install of `names` on an empty system would bring, recommendations left out. */
export async function installation(release: ReleaseName, names: readonly string[]): Promise<Package[]> {
  await update(release);
  const text = await apt("apt-get", release, ["--simulate", "--no-install-recommends", "install", ...names]);
  const lines = [...text.matchAll(/^Inst (\S+) \((\S+) /gm)];
  return lines.map(([, name, version]) => ({ name: name ?? "", version: version ?? "", depends: [] }));
}

/** Downloads packages and unpacks them into `directory` without running their scripts. */
export async function unpack(
  release: ReleaseName,
  packages: readonly Package[],
  directory: string,
): Promise<void> {
  await update(release);
  await mkdir(cachePath("tmp"), { recursive: true });
  const downloads = await mkdtemp(cachePath("tmp", "deb-"));
  try {
    await apt(
      "apt-get",
      release,
      ["download", ...packages.map(({ name, version }) => `${name}=${version}`)],
      downloads,
    );
    for (const file of await readdir(downloads)) {
      await execa("dpkg-deb", ["--extract", join(downloads, file), directory]);
    }
  } catch (error) {
    throw error instanceof Unavailable
      ? error
      : new Unavailable(`cannot unpack packages: ${messageOf(error)}`);
  } finally {
    await rm(downloads, { recursive: true, force: true });
  }
}
