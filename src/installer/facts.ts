// SPDX-License-Identifier: Apache-2.0
// What detect finds out and plan decides on. Plain data: a test writes it down, `--json` prints it.
import type { HostUser } from "../base/host.js";
import type { Problem } from "./reasons.js";

/** One device that could carry machines. */
export interface DeviceFacts {
  path: string;
  /**
   * works: a guest and the hello payload ran on it; denied: this user may not open it; broken: it opens (or should),
   * but nothing ran; absent: there is no such file; other: the file is not a character device.
   */
  state: "works" | "denied" | "broken" | "absent" | "other";
  /** What was seen, in one line: the error, or what the payload printed. */
  evidence: string;
  /** Permission bits in octal and owner, e.g. "0660 root:kvm"; absent when there is no device. */
  access?: string;
}

/** A file this package installs. */
export interface BundleFile {
  /** Where it is in the package, absolute. */
  source: string;
  /** Where it goes, relative to the prefix. */
  target: string;
  /** Permission bits. */
  mode: number;
  sha256: string;
}

/** What stands at the place of a bundle file. */
export interface TargetFacts {
  target: string;
  /** outdated: ours, of another version; foreign: somebody else's file. */
  state: "absent" | "same" | "outdated" | "foreign" | "not-a-file";
}

export interface PrefixFacts {
  path: string;
  /** writable: this user can create or change it. */
  state: "writable" | "denied" | "not-a-folder";
  evidence: string;
  /** Bytes free in its file system. */
  free?: number;
  /** One for each bundle file, in the same order. */
  targets: TargetFacts[];
  /** Files of an earlier installation by this tool that the bundle no longer has, relative to the prefix. */
  obsolete: string[];
  /** Version of the last installation here that ran its payload. */
  verified?: string;
  /** It holds files, and none of them is from an installation by this tool. */
  foreign?: boolean;
  /** Why the journal that is there is not worked with. */
  trouble?: Problem;
}

/** A kernel release such as "6.1.0-18-cloud-amd64", taken apart. */
export interface KernelRelease {
  release: string;
  major: number;
  minor: number;
  patch: number;
  /** Release candidate, 0 for a release. */
  rc: number;
  /** What distributions call the build, e.g. "cloud-amd64", "aws", "default". */
  flavour: string;
}

/** What it would take to build modules for one kernel. */
export interface KernelBuildFacts {
  release: string;
  /** Folder with the headers, or null. */
  headers: string | null;
  /** "gcc 12" as the kernel's own configuration names it; null when that cannot be read. */
  compiler: string | null;
  /** Program that matches it, or null. */
  found: string | null;
  /** Version of the found one differs from the kernel's. */
  mismatch: boolean;
  /** kkm.ko of our making is there: for these sources, for others, or not. */
  module: "current" | "outdated" | "absent";
}

export interface NestedFacts {
  /** offered: by default; switch: can be switched on; metal: only on whole machines; never; unknown. */
  offer: "offered" | "switch" | "metal" | "never" | "unknown";
  /** The exact command, or what to do, in one line. */
  how: string;
  source: string;
}

export interface MachineFacts {
  /** "kvm", "xen", "microsoft", "vmware", "oracle" (VirtualBox), "none" for bare metal, "unknown". */
  hypervisor: string;
  /** DMI strings: vendor and product. */
  vendor: string;
  product: string;
  cloud: {
    id: string;
    name: string;
    instanceType: string | null;
    /** Where the type was read: DMI or the metadata service. */
    typeFrom: "dmi" | "metadata" | null;
  } | null;
  nested: NestedFacts;
}

export interface SecurityFacts {
  secureBoot: "on" | "off" | "no-efi" | "unknown";
  lockdown: "none" | "integrity" | "confidentiality" | "absent";
  modulesDisabled: boolean;
  /** module.sig_enforce: unsigned modules are refused whatever Secure Boot says. */
  sigEnforce: boolean;
  /** The kernel takes modules at all. */
  modules: boolean;
  /** A key pair that could sign, or null. */
  key: { privateKey: string; certificate: string; enrolled: boolean | null } | null;
  selinux: "enforcing" | "permissive" | "disabled" | "absent";
  apparmor: boolean;
}

export interface EngineFacts {
  docker: {
    how: "package" | "snap" | "rootless" | "desktop";
    path: string;
    version: string | null;
    /** Its configuration file, and what is wrong with it. */
    config: string;
    configProblem: string | null;
    running: boolean;
  } | null;
  podman: { path: string; version: string | null } | null;
  containerd: { path: string; version: string | null; config: string; configProblem: string | null } | null;
  kubelet: boolean;
}

export interface KkmFacts {
  loaded: boolean;
  /** Members of group kkm; null: there is no such group. */
  group: string[] | null;
  dkms: string | null;
  /** Versions of kkm that DKMS knows. */
  registered: string[];
  /** What names the sources that DKMS has of this version; null: it has none. */
  sources: string | null;
}

export interface HostFacts {
  platform: string;
  arch: string;
  kernel: KernelRelease & {
    /** Every installed kernel that can be booted, oldest first. */
    installed: string[];
    /** The newest of them; the running one where none is known. */
    newest: string;
  };
  distro: { id: string; like: string[]; version: string; name: string };
  /** How packages are installed; null where no known tool is there. */
  packages: "apt" | "dnf" | "yum" | "zypper" | "pacman" | null;
  cpu: { model: string; vendor: string; virtualization: "vmx" | "svm" | "none"; hypervisor: boolean };
  memory: { totalMiB: number };
  user: HostUser;
  /** "docker", "podman", "kubernetes", "lxc"...; null on the machine itself. */
  container: string | null;
  wsl: 0 | 1 | 2;
  cgroup: "v1" | "v2" | "hybrid" | "none";
  machine: MachineFacts;
  security: SecurityFacts;
  /** The running kernel first, then the newest where that is another one. */
  build: KernelBuildFacts[];
  /** Programs missing for building modules. */
  missingTools: string[];
  kkm: KkmFacts;
  engines: EngineFacts;
  compiler: string | null;
  bundle: { version: string; files: BundleFile[]; missing: string[] };
  /** In the order in which they are preferred. */
  devices: DeviceFacts[];
  prefix: PrefixFacts;
  /** Content of files outside the prefix that a plan may change; null: not there. */
  etc: Record<string, string | null>;
  /** Folders outside the prefix that a plan may need, which are there. */
  folders: string[];
}

/** What the person asked for. */
export interface Wishes {
  /** Absolute path of the installation. */
  prefix: string;
  /** Device to use, a path; undefined: the first that works, and KKM where none does. */
  device?: string;
  /** No packages are to be fetched and no metadata service asked. */
  offline?: boolean;
  /** Look at devices also behind one that works. */
  everyDevice?: boolean;
}

export const KVM = "/dev/kvm";
export const KKM = "/dev/kkm";

/** Where a monitor looks for a device when it is not told, in order. */
export const DEVICE_SEARCH = ["/dev/kontain", KVM, KKM] as const;

/** Where installations go unless `--prefix` says otherwise. */
export const DEFAULT_PREFIX = "/opt/kontain";
