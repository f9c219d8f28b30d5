# SPDX-License-Identifier: Apache-2.0
# Sourced by suites that install: a machine of the kernel's own Debian release, with its compiler ($LAB_USERLAND), its
# modules and headers, and a second kernel's beside them. Every write goes to layers of its own, so that afterwards
# differences() has to look only at what was written.
#
#   $machine    its root           inside LINE...   runs a line of shell in it, in the checkout
#   $release    the running kernel's                $second   the other one's release, empty where the lab has none
export PATH=$PATH:/usr/sbin:/sbin CI=1
release=$(uname -r)
checkout=$PWD
machine=/run/machine
layers=/run/layers

say() { echo "--- $(cut -d . -f 1 /proc/uptime) s: $*"; }
fail() { echo "$*"; exit 1; }
skip() { echo "$*"; exit 77; }

[ -f dist/cli/kontain-install.js ] || skip "dist/ is not built"
[ -n "${LAB_USERLAND:-}" ] || fail "LAB_USERLAND is not set"
[ ! -e /dev/kvm ] || fail "there is a /dev/kvm: this suite is for machines without"

modules_of() { # kernel root in the cache: older packages have /lib, newer ones /usr/lib
  for folder in "$1/lib/modules" "$1/usr/lib/modules"; do
    [ ! -d "$folder" ] || { echo "$folder"; return; }
  done
}

cache=${LAB_USERLAND%/build-roots/*}
first= second= other=
for root in "$cache"/kernels/*/root; do
  [ ! -d "$root/usr/src/linux-headers-$release" ] || first=$root
done
[ -n "$first" ] || skip "no headers of $release in $cache"
kbuild=$(basename "$first"/usr/lib/linux-kbuild-*)
for root in "$cache"/kernels/*/root; do # of the same source package: the same compiler and kbuild
  [ "$root" != "$first" ] && [ -d "$root/usr/lib/$kbuild" ] && other=$root
done
[ -z "${LAB_ONE_KERNEL:-}" ] || other= # -e LAB_ONE_KERNEL=1: half the time
[ -z "$other" ] || second=$(ls "$(modules_of "$other")")

# What the machine had before it came to us, beneath everything that is written: mount points, Node, the kernels.
mkdir -p "$machine" "$layers"
mount -t tmpfs tmpfs "$layers"
base=$layers/base
mkdir -p "$base/usr/local/bin" "$base/usr/lib/node_modules/npm" "$base/usr/lib/modules" "$base/usr/src" \
  "$base/usr/lib/$kbuild" "$base/root" "$base/sys" "$base/run" "$base/etc" "$base/opt" "$base/var/lib" "$base/var/log" \
  "$base$checkout" "$base$(realpath node_modules)"
: >"$base/usr/local/bin/node"
printf '#!/bin/sh\nexec node /usr/lib/node_modules/npm/bin/npx-cli.js "$@"\n' >"$base/usr/local/bin/npx"
chmod 755 "$base/usr/local/bin/npx"
printf 'root:x:0:\nkvm:x:104:\n' >"$base/etc/group"
printf 'root:*::\nkvm:!::\n' >"$base/etc/gshadow"
mkdir -p "$base/etc/kernel/postinst.d" "$base/etc/kernel/header_postinst.d" "$base/etc/modules-load.d"
printf 'root:*:19000:0:99999:7:::\n' >"$base/etc/shadow"

stack() { # NAME PLACE LOWER...: an overlay whose written files are in $layers/NAME, and $layers/NAME-before as it was
  name=$1 place=$2
  shift 2
  lower=$(IFS=:; echo "$*")
  mkdir -p "$layers/$name" "$layers/$name-work" "$layers/$name-before" "$layers/none"
  mount -t overlay -o "ro,lowerdir=$lower:$layers/none" overlay "$layers/$name-before"
  mount -t overlay -o "lowerdir=$lower,upperdir=$layers/$name,workdir=$layers/$name-work" overlay "$place"
}
stack root "$machine" "$base" "$LAB_USERLAND"
stack modules "$machine/usr/lib/modules" "$(modules_of "$first")" ${other:+"$(modules_of "$other")"}
stack sources "$machine/usr/src" "$first/usr/src" ${other:+"$other/usr/src"} "$LAB_USERLAND/usr/src"

for folder in proc sys dev; do mount --rbind "/$folder" "$machine/$folder"; done
mount -t tmpfs tmpfs "$machine/tmp"
mount -t tmpfs tmpfs "$machine/run"
mount --bind "$first/usr/lib/$kbuild" "$machine/usr/lib/$kbuild"
mount --bind "$(readlink -f "$(command -v node)")" "$machine/usr/local/bin/node"
mount --bind "$(dirname "$(dirname "$(readlink -f "$(command -v npx)")")")" "$machine/usr/lib/node_modules/npm"
for folder in "$checkout" "$(realpath node_modules)"; do
  mkdir -p "$machine$folder" # a checkout in /tmp
  mount --bind "$folder" "$machine$folder"
done

inside() {
  chroot "$machine" /usr/bin/env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin CI=1 HOME=/tmp \
    sh -c "cd '$checkout' && $*"
}

modified() { # LAYER: names in it that are not as they were: mode, owner, size, time, content; a removed one as well
  (cd "$layers/$1" && find . -mindepth 1 -print) | while read -r name; do
    now=$layers/$1/$name was=$layers/$1-before/$name
    if [ -d "$now" ] && [ ! -L "$now" ]; then
      format='%A %u:%g'
    else
      format='%A %u:%g %s %y'
    fi
    [ "$(stat -c "$format" "$now")" = "$(stat -c "$format" "$was" 2>&1)" ] &&
      { [ ! -f "$now" ] || cmp -s "$now" "$was"; } && [ "$(readlink "$now")" = "$(readlink "$was")" ] && continue
    echo "$1 $name: $(stat -c "$format" "$now"); before: $(stat -c "$format" "$was" 2>&1)"
  done
}

# What is another than before, on the whole machine.
differences() { for layer in root modules sources; do modified "$layer"; done; }

# A payload in the installation on /dev/kkm; access to the device is the group's.
check_installed() {
  [ -c /dev/kkm ] || fail "no /dev/kkm"
  [ "$(inside "stat -c %a:%G /dev/kkm")" = 660:kkm ] || fail "/dev/kkm is $(inside "stat -c %a:%G /dev/kkm")"
  inside "/opt/kontain/bin/km --virt-device=/dev/kkm /opt/kontain/tests/hello_test.km lab" |
    grep -qx 'argument 1: lab' || fail "the payload does not run"
}
