// SPDX-License-Identifier: Apache-2.0
// Limits around a monitor that its payload cannot lift: what is put in front of km's command line.
import { access, constants, readFile, stat } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { MonitorError } from "./errors.js";

/** Host paths a payload may see. Nothing else exists for it, but /proc, /tmp (its own) and a few devices. */
export interface FileAccess {
  read?: string[];
  write?: string[];
}

export interface JailOptions {
  files?: FileAccess;
  network: boolean;
  /** Device node km needs. */
  device: string;
  /** Directory of a cgroup (v2) to join before km starts. */
  cgroup?: string;
  cwd: string;
  km: string;
}

const DEVICES = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/** Where the new root is put together; hidden inside, so nothing under it can be offered. */
const STAGE = "/mnt";

/**
 * Builds a root of bind mounts in a mount namespace, moves it over the old one and runs the command there without
 * capabilities. Arguments: stage, working directory, then pairs "r PATH", "w PATH" or "d PATH" (device), "--", the
 * command. `set -e`: a mount that fails ends it before km runs. sys_chroot is what entering takes; it leads nowhere, as
 * the old root lies under the new one.
 */
const BUILD_ROOT = `set -e
root=$1 cwd=$2; shift 2
mount --make-rprivate /
mount -t tmpfs -o mode=755,size=1m tmpfs "$root"
mkdir "$root/proc" "$root/tmp"
mount -t tmpfs -o mode=1777,nosuid,nodev,size=64m tmpfs "$root/tmp"
while [ "$1" != -- ]; do
  if [ -d "$2" ]; then mkdir -p "$root$2"; else mkdir -p "$root\${2%/*}"; : > "$root$2"; fi
  mount --bind "$2" "$root$2"
  case $1 in
    r) mount -o remount,bind,ro,nosuid,nodev "$root$2" ;;
    w) mount -o remount,bind,nosuid,nodev "$root$2" ;;
  esac
  shift 2
done
shift
mkdir -p "$root$cwd"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -o remount,bind,ro "$root"
cd "$root"
mount --move . /
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+sys_chroot unshare --root . --wd "$cwd" -- "$@"
`;

const JOIN_CGROUP = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"';

/** Words to put in front of km's command line; empty when nothing has to be limited. */
export async function jailCommand(options: JailOptions): Promise<string[]> {
  const words: string[] = [];
  if (options.cgroup) words.push("/bin/sh", "-c", JOIN_CGROUP, "sh", options.cgroup);
  const root = process.getuid?.() === 0;
  const namespaces = ["unshare", ...(root ? [] : ["--user", "--map-root-user"])];
  if (!options.network) namespaces.push("--net");
  if (!options.files) {
    if (!options.network) words.push(...namespaces, "--");
    return words;
  }
  const visible = await mounts(options);
  words.push(...namespaces, "--mount", "--pid", "--fork", "--kill-child", "--");
  words.push("/bin/sh", "-c", BUILD_ROOT, "sh", STAGE, options.cwd);
  words.push(...visible, "--");
  return words;
}

async function mounts(options: JailOptions): Promise<string[]> {
  const words: string[] = [];
  const seen = new Set<string>();
  const add = async (kind: string, path: string) => {
    if (!isAbsolute(path)) throw new MonitorError("ERR_KM_LIMIT", `files: '${path}' is not an absolute path`);
    if (path === STAGE || path.startsWith(`${STAGE}/`))
      throw new MonitorError("ERR_KM_LIMIT", `files: nothing under ${STAGE} can be offered`);
    if (seen.has(path)) return;
    seen.add(path);
    if (!(await stat(path).catch(() => undefined)))
      throw new MonitorError("ERR_KM_LIMIT", `files: '${path}' does not exist`);
    words.push(kind, path);
  };
  await add("r", options.km);
  for (const path of options.files?.read ?? []) await add("r", path);
  for (const path of options.files?.write ?? []) await add("w", path);
  for (const path of [...DEVICES, options.device]) await add("d", path);
  return words;
}

/** A place for cgroups of our own: where this process is, or above it, when memory is delegated there (cgroup v2). */
async function delegated(): Promise<string | undefined> {
  const own = (await readFile("/proc/self/cgroup", "utf8"))
    .split("\n")
    .find((line) => line.startsWith("0::"));
  if (!own) return undefined;
  let directory = join("/sys/fs/cgroup", own.slice(3));
  for (let up = 0; up < 2; up++) {
    const enabled = await readFile(join(directory, "cgroup.subtree_control"), "utf8").catch(() => "");
    const writable = await access(directory, constants.W_OK).then(
      () => true,
      () => false,
    );
    if (writable && enabled.split(/\s+/).includes("memory")) return directory;
    directory = dirname(directory);
  }
  return undefined;
}

let place: Promise<string | undefined> | undefined;

/** Directory under which a cgroup for a machine can be made, or undefined. Looked up once. */
export function cgroupPlace(): Promise<string | undefined> {
  place ??= delegated().catch(() => undefined);
  return place;
}
