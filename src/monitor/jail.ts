// SPDX-License-Identifier: Apache-2.0
// Limits around a monitor that its payload cannot lift: what is put in front of km's command line.
import { stat } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { MonitorError } from "./errors.js";
import { findTool, TOOL_PATH } from "./find.js";

/** Host paths a payload may see. Nothing else exists for it, but /proc, /tmp (its own) and a few devices. */
export interface FileAccess {
  /** Absolute paths of files or directories it may read and execute. */
  read?: string[];
  /** Absolute paths of files or directories it may change as well. */
  write?: string[];
}

export interface JailOptions {
  files?: FileAccess;
  /** false: a network namespace with nothing but a loopback that is down. */
  network: boolean;
  /** Device node km needs. */
  device: string;
  /** Directory of a cgroup (v2) to join before km starts. */
  cgroup?: string;
  /** RLIMIT_DATA, bytes (getrlimit(2)). */
  dataBytes?: number;
  /** RLIMIT_CPU, seconds: SIGXCPU then, SIGKILL a second later. */
  cpuSeconds?: number;
  cwd: string;
  km: string;
  /** Descriptor, 3 to 8, that gets what goes wrong before km has started. */
  statusFd: number;
  /** Environment of the payload: what a shell adds to it is taken out again. */
  env: Record<string, string | undefined>;
}

const DEVICES = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/** Variables that POSIX shells export by themselves. */
const SHELL_VARIABLES = ["PWD", "OLDPWD", "SHLVL", "_"];
/** Where the new root is put together; hidden inside, so nothing under it can be offered. */
const STAGE = "/mnt";
/** Keeps the payload's stderr while the jail's own complaints go to the status file. */
const RESTORE_STDERR = "exec 2>&9 9>&-";

/**
 * Arguments: pid of the launcher, cgroup, RLIMIT_DATA in KiB, RLIMIT_CPU in seconds (each may be empty), the command.
 * `set -e`: what fails ends it before km runs. The launcher is asked for after its death would have been a signal.
 */
const enter = (statusFd: number) => `set -e
exec 9>&2 2>&${statusFd}
[ "$PPID" = "$1" ] || { echo "the launcher is gone" >&2; exit 1; }
[ -z "$2" ] || echo $$ > "$2/cgroup.procs"
ulimit -c 0
[ -z "$3" ] || ulimit -d "$3"
[ -z "$4" ] || { ulimit -S -t "$4"; ulimit -H -t "$(($4 + 1))"; }
shift 4
`;

/**
 * Builds a root of bind mounts in a mount namespace, moves it over the old one and runs the command there without
 * capabilities. Arguments: stage, working directory, then pairs "r PATH", "w PATH" or "d PATH" (device), "--", the
 * command. sys_chroot is what entering takes; it leads nowhere, as the old root lies under the new one. The monitor's
 * socket gets a place of its own, of a few pages: the host finds it through /proc/PID/root.
 */
const BUILD_ROOT = `set -e
root=$1 cwd=$2 path=\${PATH-}; shift 2
PATH=${TOOL_PATH.join(":")}
mount --make-rprivate /
mount -t tmpfs -o mode=755,size=1m,nr_inodes=4k tmpfs "$root"
mkdir "$root/proc" "$root/tmp"
mount -t tmpfs -o mode=1777,nosuid,nodev,size=64m,nr_inodes=16k tmpfs "$root/tmp"
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
if mkdir -p "$root/run/kontain" 2> /dev/null; then
  mount -t tmpfs -o mode=700,nosuid,nodev,noexec,size=16k,nr_inodes=16 tmpfs "$root/run/kontain"
fi
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -o remount,bind,ro "$root"
cd "$root"
mount --move . /
PATH=$path
`;

/** Words to put in front of km's command line; empty when nothing has to be limited. @throws MonitorError ERR_KM_LIMIT */
export async function jailCommand(options: JailOptions, limited: boolean): Promise<string[]> {
  if (!limited && !options.files && options.network) return [];
  const unset = SHELL_VARIABLES.filter((name) => options.env[name] === undefined).map(
    (name) => `unset ${name}`,
  );
  const script = (...lines: string[]) => ["/bin/sh", "-c", lines.join("\n"), "sh"];
  const leave = (command = '"$@"') => [...unset, RESTORE_STDERR, `exec ${command}`].join("\n");
  const inside = namespaces(options);
  const words = [findTool("setpriv"), "--pdeathsig", "KILL", "--"];
  words.push(...script(enter(options.statusFd), inside.length > 0 ? 'exec "$@"' : leave()));
  words.push(String(process.pid), options.cgroup ?? "");
  words.push(options.dataBytes ? String(Math.ceil(options.dataBytes / 1024)) : "");
  words.push(options.cpuSeconds ? String(Math.ceil(options.cpuSeconds)) : "");
  words.push(...inside);
  if (inside.length > 0 && !options.files) words.push(...script(leave()));
  if (!options.files) return words;
  const bare = "--no-new-privs --inh-caps=-all --bounding-set=-all,+sys_chroot";
  const chroot = `${findTool("unshare")} --root . --wd "$cwd" --`;
  words.push(...script(BUILD_ROOT, leave(`${findTool("setpriv")} ${bare} ${chroot} "$@"`)));
  return [...words, STAGE, options.cwd, ...(await mounts(options)), "--"];
}

/** unshare(1) and its options, or nothing. Without root a user namespace gives the right to the others. */
function namespaces({ files, network }: JailOptions): string[] {
  if (!files && network) return [];
  const words = [findTool("unshare")];
  if (process.getuid?.() !== 0) words.push("--user", "--map-root-user");
  if (!network) words.push("--net");
  if (files) words.push("--mount", "--pid", "--fork", "--kill-child");
  return [...words, "--"];
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
