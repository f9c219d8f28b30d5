// SPDX-License-Identifier: Apache-2.0
// The kernels the lab knows and the Debian releases they come from. Adding a kernel is adding a line here.

/** A Debian release: the suites apt reads for it. Those ending in -security come from the security mirror. */
export interface Release {
  readonly name: string;
  readonly suites: readonly string[];
}

export const releases = {
  bullseye: { name: "bullseye", suites: ["bullseye", "bullseye-security"] },
  bookworm: { name: "bookworm", suites: ["bookworm", "bookworm-security"] },
  trixie: { name: "trixie", suites: ["trixie", "trixie-security"] },
  sid: { name: "sid", suites: ["sid"] },
} as const satisfies Record<string, Release>;

export type ReleaseName = keyof typeof releases;

interface KernelBase {
  /** What --kernel takes. */
  readonly id: string;
  readonly release: ReleaseName;
  /** Without 9p a kernel boots initramfs guests only; the cloud flavours have none. */
  readonly has9p: boolean;
}

/** A kernel as Debian packages it. */
export interface PackagedKernel extends KernelBase {
  /** Part of the package names linux-image-FLAVOUR and linux-headers-FLAVOUR. */
  readonly flavour: "amd64" | "cloud-amd64";
}

/** A kernel compiled from Debian's source package with a configuration of ours. */
export interface BuiltKernel extends KernelBase {
  readonly source: string;
  readonly compiler: string;
  /** Configuration fragment below the checkout; what it does not name is off. */
  readonly config: string;
}

export type Kernel = PackagedKernel | BuiltKernel;

export const kernels: readonly Kernel[] = [
  { id: "5.10", release: "bullseye", flavour: "amd64", has9p: true },
  { id: "6.1", release: "bookworm", flavour: "amd64", has9p: true },
  { id: "6.1-cloud", release: "bookworm", flavour: "cloud-amd64", has9p: false },
  { id: "6.12", release: "trixie", flavour: "amd64", has9p: true },
  { id: "6.12-cloud", release: "trixie", flavour: "cloud-amd64", has9p: false },
  { id: "sid", release: "sid", flavour: "amd64", has9p: true },
  { id: "sid-cloud", release: "sid", flavour: "cloud-amd64", has9p: false },
  {
    id: "6.12-debug",
    release: "trixie",
    source: "linux-source-6.12",
    compiler: "gcc-14",
    config: "test/lab/configs/debug.config",
    has9p: false,
  },
];

/** The kernel that `lab run` and runInGuest() boot when none is named. */
export const defaultKernel = "6.1";

export function kernelById(id: string): Kernel {
  const found = kernels.find((kernel) => kernel.id === id);
  if (found) return found;
  throw new Error(`no kernel "${id}": the lab knows ${kernels.map((kernel) => kernel.id).join(", ")}`);
}
