// SPDX-License-Identifier: Apache-2.0
// Names and commands of each package manager. apt's are exercised; the others are named after their manuals.
import type { HostFacts, KernelBuildFacts } from "../facts.js";
import { sh } from "./steps.js";

type Manager = NonNullable<HostFacts["packages"]>;

interface ManagerRow {
  /** Shell line that installs "$@" without questions. Names are arguments, never part of it. */
  install: string;
  headers: (release: string, distro: HostFacts["distro"]) => string[];
  compiler: (family: string, major: number) => string;
  tools: string[];
  /** Takes packages away again. */
  remove: string;
}

// A fresh machine has no lists yet, an old one has stale ones.
const APT = `export DEBIAN_FRONTEND=noninteractive
get() { apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"; }
get "$@" || { apt-get -q update && get "$@"; }`;

/** openSUSE's headers are named after the flavour: kernel-default-devel. */
const suseFlavour = (release: string) => release.split("-").at(-1) ?? "default";

const MANAGERS: Record<Manager, ManagerRow> = {
  apt: {
    install: APT,
    headers: (release) => [`linux-headers-${release}`],
    compiler: (family, major) => `${family}-${major}`,
    tools: ["make", "binutils", "libc6-dev"],
    remove: "apt-get purge",
  },
  dnf: {
    install: 'dnf install -y "$@"',
    headers: (release) => [/uek/.test(release) ? `kernel-uek-devel-${release}` : `kernel-devel-${release}`],
    compiler: (family) => family,
    tools: ["make", "binutils", "elfutils-libelf-devel"],
    remove: "dnf remove",
  },
  yum: {
    install: 'yum install -y "$@"',
    headers: (release) => [`kernel-devel-${release}`],
    // Amazon Linux 2 has a gcc10 beside its gcc 7.
    compiler: (family, major) => (family === "gcc" && major === 10 ? "gcc10" : family),
    tools: ["make", "binutils", "elfutils-libelf-devel"],
    remove: "yum remove",
  },
  zypper: {
    install: 'zypper --non-interactive install "$@"',
    headers: (release) => [`kernel-${suseFlavour(release)}-devel`],
    compiler: (family, major) => `${family}${major}`,
    tools: ["make", "binutils"],
    remove: "zypper remove",
  },
  pacman: {
    install: 'pacman -S --noconfirm --needed "$@"',
    headers: (release) => [
      /-lts$/.test(release)
        ? "linux-lts-headers"
        : /-zen/.test(release)
          ? "linux-zen-headers"
          : "linux-headers",
    ],
    compiler: (family) => family,
    tools: ["make", "binutils"],
    remove: "pacman -Rs",
  },
};

/** What has to be installed so that the module can be built for these kernels; null: nothing. */
export interface Wanted {
  packages: string[];
  /** Installs them; null where there is no package manager known. */
  command: string[] | null;
  remove: string;
}

/** The kernel whose headers are missing does not tell its compiler: the distribution's default has to do. */
function compilerPackages(row: ManagerRow, kernel: KernelBuildFacts): string[] {
  if (kernel.found && !kernel.mismatch) return [];
  const [family = "gcc", major] = kernel.compiler?.split(" ") ?? [];
  return [major ? row.compiler(family, Number(major)) : family];
}

export function wantedPackages(facts: HostFacts, kernels: KernelBuildFacts[]): Wanted | null {
  const row = MANAGERS[facts.packages ?? "apt"];
  const packages = new Set<string>();
  for (const kernel of kernels) {
    if (!kernel.headers) for (const name of row.headers(kernel.release, facts.distro)) packages.add(name);
    for (const name of compilerPackages(row, kernel)) packages.add(name);
  }
  if (facts.missingTools.length > 0) for (const name of row.tools) packages.add(name);
  if (packages.size === 0) return null;
  const names = [...packages];
  return { packages: names, command: facts.packages ? sh(row.install, ...names) : null, remove: row.remove };
}
