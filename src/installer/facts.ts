// SPDX-License-Identifier: Apache-2.0
// What detect finds out and plan decides on. Plain data: a test writes it down, `--json` prints it.

/** One device that could carry machines. */
export interface DeviceFacts {
  path: string;
  /**
   * works: the hello payload ran on it; denied: this user may not open it; broken: it opens (or should), but no
   * payload ran; absent: there is no such file; other: the file is not a character device.
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
  /** One for each bundle file, in the same order. */
  targets: TargetFacts[];
  /** Files of an earlier installation by this tool that the bundle no longer has, relative to the prefix. */
  obsolete: string[];
  /** Version of the last installation here that ran its payload. */
  verified?: string;
}

export interface HostFacts {
  platform: string;
  arch: string;
  kernel: { release: string; major: number; minor: number };
  distro: { id: string; version: string; name: string };
  cpu: { model: string; virtualization: "vmx" | "svm" | "none" };
  user: { uid: number; name: string };
  compiler: string | null;
  bundle: { version: string; files: BundleFile[]; missing: string[] };
  /** In the order in which they are preferred. */
  devices: DeviceFacts[];
  prefix: PrefixFacts;
}

/** What the person asked for. */
export interface Wishes {
  /** Absolute path of the installation. */
  prefix: string;
  /** Device to use; undefined: the first that works. */
  device?: string;
}

/** Where a monitor looks for a device when it is not told, in order. */
export const DEVICE_SEARCH = ["/dev/kontain", "/dev/kvm", "/dev/kkm"] as const;

/** Where installations go unless `--prefix` says otherwise. */
export const DEFAULT_PREFIX = "/opt/kontain";
