// SPDX-License-Identifier: Apache-2.0
// The shell scripts an installation of KKM leaves on the host. Shell, because they run from kernel packages and at times
// when there may be no Node.
import { join } from "node:path";
import { KEY_PLACES } from "./detect/security.js";

const HEAD =
  "# SPDX-License-Identifier: Apache-2.0\n# Written by kontain-install; `kontain uninstall` removes it.";

/** Exit statuses of rebuild.sh beyond those of kkm/build.sh. */
export const REBUILD_STATUS = { signing: 30, install: 31, workspace: 32 } as const;

/** PACKAGE_VERSION of kkm/dkms.conf. */
export const DKMS_VERSION = "1.0.0";
/** Where DKMS looks for the sources, and what it keeps of them. */
export const DKMS_SOURCE = `/usr/src/kkm-${DKMS_VERSION}`;
export const DKMS_STATE = "/var/lib/dkms/kkm";

/** Text without anything a shell would take apart. */
export function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** PREFIX/kkm/rebuild.sh: builds, signs and installs the module for one kernel; the old one stays until the new is whole. */
export function rebuildScript(prefix: string): string {
  const keys = KEY_PLACES.map(({ privateKey, certificate }) => `${privateKey}:${certificate}`).join(" ");
  return `#!/bin/sh
${HEAD}
# rebuild.sh RELEASE: build kkm.ko for that kernel, sign it where there is a key, install it. Statuses: those of build.sh,
# ${REBUILD_STATUS.signing} signing failed, ${REBUILD_STATUS.install} installing failed, ${REBUILD_STATUS.workspace} no room to build in.
# rebuild.sh --remove-except RELEASE...: remove the modules built for all other kernels, and the hook's logs.
set -u
PATH=$PATH:/usr/sbin:/sbin
here=${shellWord(join(prefix, "kkm"))}

if [ "\${1-}" = --remove-except ]; then
  shift
  for stamp in "$here"/built/*; do
    [ -f "$stamp" ] || continue
    release=\${stamp##*/}
    case " $* " in *" $release "*) continue ;; esac
    rm -f "/lib/modules/$release/updates/kkm.ko" "$stamp"
    rmdir "/lib/modules/$release/updates" 2>/dev/null
    [ ! -d "/lib/modules/$release" ] || depmod "$release"
  done
  rm -f /var/log/kontain-kkm-*.log
  exit 0
fi

release=\${1:?rebuild.sh RELEASE}
work=$(mktemp -d) || exit ${REBUILD_STATUS.workspace}
trap 'rm -rf "$work"' EXIT
MAKEFLAGS=\${MAKEFLAGS:--j$(nproc 2>/dev/null || echo 1)}
export MAKEFLAGS
trap 'exit 130' HUP INT TERM
cp -R "$here" "$work/kkm" || exit ${REBUILD_STATUS.workspace}
sh "$work/kkm/build.sh" --kernel "$release" || exit
module=$work/kkm/kkm.ko

sign() {
  for pair in ${keys}; do
    key=\${pair%%:*}
    certificate=\${pair#*:}
    [ -r "$key" ] && [ -r "$certificate" ] || continue
    for tool in "/lib/modules/$release/build/scripts/sign-file" /usr/lib/linux-kbuild-*/scripts/sign-file; do
      [ -x "$tool" ] || continue
      "$tool" sha256 "$key" "$certificate" "$module" || exit ${REBUILD_STATUS.signing}
      echo "kkm: signed with $certificate"
      return
    done
    command -v kmodsign >/dev/null || continue
    kmodsign sha512 "$key" "$certificate" "$module" || exit ${REBUILD_STATUS.signing}
    echo "kkm: signed with $certificate"
    return
  done
  echo "kkm: not signed: no key of the machine's owner"
}

sign
target=/lib/modules/$release/updates
mkdir -p "$target" "$here/built" &&
  cp "$module" "$target/.kkm.ko.new" &&
  chmod 644 "$target/.kkm.ko.new" &&
  sync "$target/.kkm.ko.new" &&
  mv -f "$target/.kkm.ko.new" "$target/kkm.ko" &&
  depmod "$release" &&
  cp "$here/stamp" "$here/built/$release" || exit ${REBUILD_STATUS.install}
echo "kkm: installed $target/kkm.ko"
`;
}

const HOOK_BODY = (rebuild: string) => `
[ -n "$release" ] && [ -f "/lib/modules/$release/build/Makefile" ] && [ -x ${rebuild} ] || exit 0
log=/var/log/kontain-kkm-$release.log
# A kernel must not fail to install for our sake: this never exits with an error.
${rebuild} "$release" >"$log" 2>&1 || echo "kontain: no /dev/kkm under kernel $release; $log says why" >&2
exit 0
`;

/** For /etc/kernel/postinst.d and header_postinst.d (Debian, Ubuntu): called with the release. */
export function debianHook(prefix: string): string {
  return `#!/bin/sh
${HEAD}
release=\${1-}
${HOOK_BODY(shellWord(join(prefix, "kkm/rebuild.sh"))).trimStart()}`;
}

/** For /etc/kernel/install.d (kernel-install(8)): called with add or remove, then the release. */
export function fedoraHook(prefix: string): string {
  return `#!/bin/sh
${HEAD}
[ "\${1-}" = add ] || exit 0
release=\${2-}
${HOOK_BODY(shellWord(join(prefix, "kkm/rebuild.sh"))).trimStart()}`;
}

/**
 * Loads the module and waits for its device. Where no udev applies the rule, the group and mode are set here.
 * Arguments: "reload" takes a loaded module out first.
 */
export const LOAD_SCRIPT = `
PATH=$PATH:/usr/sbin:/sbin
if command -v udevadm >/dev/null; then udevadm control --reload 2>/dev/null; fi
if [ "\${1-}" = reload ] && grep -q '^kkm ' /proc/modules; then rmmod kkm || exit; fi
said=$(modprobe kkm 2>&1) || {
  status=$?
  # Why is in the kernel's log only; the line that is told comes last.
  dmesg 2>/dev/null | grep kkm | tail -n 5 >&2
  echo "$said" >&2
  exit $status
}
n=0
while [ ! -c /dev/kkm ] && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
[ -c /dev/kkm ] || { echo "the module is loaded, but there is no /dev/kkm" >&2; exit 1; }
if command -v udevadm >/dev/null; then udevadm settle 2>/dev/null; fi
[ "$(stat -c %G:%a /dev/kkm)" = kkm:660 ] || { chgrp kkm /dev/kkm && chmod 0660 /dev/kkm; }
`;

export const UNLOAD_SCRIPT = `
PATH=$PATH:/usr/sbin:/sbin
grep -q '^kkm ' /proc/modules || exit 0
rmmod kkm
`;

export const ADD_GROUP_SCRIPT = `
PATH=$PATH:/usr/sbin:/sbin
if ! grep -q '^kkm:' /etc/group; then
  if command -v groupadd >/dev/null; then groupadd -r kkm; else addgroup -S kkm; fi || exit
fi
if [ -n "\${1-}" ]; then
  if command -v usermod >/dev/null; then usermod -aG kkm "$1"; else addgroup "$1" kkm; fi
fi
`;

export const DELETE_GROUP_SCRIPT = `
PATH=$PATH:/usr/sbin:/sbin
grep -q '^kkm:' /etc/group || exit 0
if command -v groupdel >/dev/null; then groupdel kkm; else delgroup kkm; fi
`;

/** Tells DKMS of the sources. $1: version. Where an earlier try was cut off, it is made anew. */
export const DKMS_ADD_SCRIPT = `
PATH=$PATH:/usr/sbin:/sbin
[ -L "${DKMS_STATE}/$1/source" ] && exit 0
rm -rf "${DKMS_STATE}/$1"
dkms add -m kkm -v "$1"
`;

/** Takes a version out of DKMS, with the modules it built for whichever kernel. */
export const DKMS_REMOVE_SCRIPT = `
PATH=$PATH:/usr/sbin:/sbin
[ -d "${DKMS_STATE}/$1" ] || exit 0
dkms remove -m kkm -v "$1" --all
`;

/** Tells DKMS of a version that was there before, and has it build for these kernels again where it can. */
export const DKMS_RETURN_SCRIPT = `
PATH=$PATH:/usr/sbin:/sbin
version=$1
shift
[ -L "${DKMS_STATE}/$version/source" ] || dkms add -m kkm -v "$version" || exit
for release; do dkms install -m kkm -v "$version" -k "$release" --force; done
`;

/**
 * Has DKMS build and install the module. $1: version, $2: release. Statuses are those of rebuild.sh: what DKMS makes of
 * build.sh's is a 10 whatever it was, so its words are read in DKMS's log.
 */
export const DKMS_BUILD_SCRIPT = `
PATH=$PATH:/usr/sbin:/sbin
dkms status -m kkm -v "$1" -k "$2" | grep -q installed && exit 0
[ -f "/lib/modules/$2/build/Makefile" ] || { echo "kkm: no headers for kernel $2" >&2; exit 10; }
rm -rf "${DKMS_STATE}/$1/build" "${DKMS_STATE}/$1/$2"
if ! dkms build -m kkm -v "$1" -k "$2"; then
  log=${DKMS_STATE}/$1/build/make.log
  cat "$log" >&2
  grep -q '^kkm: no headers' "$log" && exit 10
  grep -q '^kkm: .*compiler' "$log" && exit 11
  grep -q '^kkm: .* is missing' "$log" && exit 12
  exit 13
fi
dkms install -m kkm -v "$1" -k "$2" --force || exit ${REBUILD_STATUS.install}
`;

/** Takes DKMS's module for one kernel away; the folder stays if it was there before. $3: keep, where it was. */
export const DKMS_UNINSTALL_SCRIPT = `
PATH=$PATH:/usr/sbin:/sbin
[ -d "${DKMS_STATE}/$1/$2" ] || exit 0
dkms uninstall -m kkm -v "$1" -k "$2"
status=$?
rm -rf "${DKMS_STATE}/$1/$2"
[ "\${3-}" != keep ] || mkdir -p "/lib/modules/$2/updates"
exit $status
`;
