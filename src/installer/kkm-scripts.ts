// SPDX-License-Identifier: Apache-2.0
// The shell scripts an installation of KKM leaves on the host. Shell, because they run from kernel packages and at times
// when there may be no Node.
import { join } from "node:path";
import { KEY_PLACES } from "./detect/security.js";

const HEAD =
  "# SPDX-License-Identifier: Apache-2.0\n# Written by kontain-install; `kontain uninstall` removes it.";

/** Exit statuses of rebuild.sh beyond those of kkm/build.sh. */
export const REBUILD_STATUS = { signing: 30, install: 31 } as const;

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
# ${REBUILD_STATUS.signing} signing failed, ${REBUILD_STATUS.install} installing failed.
# rebuild.sh --remove-except RELEASE...: remove the modules built for all other kernels.
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
  exit 0
fi

release=\${1:?rebuild.sh RELEASE}
work=$(mktemp -d) || exit 12
trap 'rm -rf "$work"' EXIT
MAKEFLAGS=\${MAKEFLAGS:--j$(nproc 2>/dev/null || echo 1)}
export MAKEFLAGS
trap 'exit 130' HUP INT TERM
cp -R "$here" "$work/kkm" || exit 12
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
modprobe kkm || exit
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
