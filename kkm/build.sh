#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Builds kkm.ko and, asked to, loads it. Each way to fail has its own exit status and one line on stderr:
#
#   build.sh [--kernel RELEASE] [--headers DIR] [--load | --load-only] [--check]
#
#   --load-only takes the kkm.ko that is beside this script, signed since it was built perhaps.
#
#   0  done            10  kernel headers (or kkm.ko) missing    11  compiler missing or another than the kernel's
#   2  bad usage       12  make, or another build tool missing    13  the source does not compile
#   20 rejected: unsigned module under Secure Boot or lockdown    21 module loading is switched off
#   22 built for another kernel   23  the kernel lacks something (dmesg says what)   24 not root, or another reason
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
release=$(uname -r)
headers=
load=false
build=true
target=all

fail() {
  status=$1
  shift
  echo "kkm: $*" >&2
  exit "$status"
}

while [ $# -gt 0 ]; do
  case $1 in
    --kernel) [ $# -ge 2 ] || fail 2 "--kernel needs a release"; release=$2; shift 2 ;;
    --headers) [ $# -ge 2 ] || fail 2 "--headers needs a directory"; headers=$2; shift 2 ;;
    --load) load=true; shift ;;
    --load-only) load=true; build=false; shift ;;
    --check) target=check; shift ;;
    *) fail 2 "unknown argument '$1' (--kernel RELEASE, --headers DIR, --load, --load-only, --check)" ;;
  esac
done
[ -n "$headers" ] || headers=/lib/modules/$release/build

need_headers() {
  [ -f "$headers/Makefile" ] && [ -f "$headers/include/generated/autoconf.h" ] && return
  fail 10 "no headers for kernel $release in $headers; install linux-headers-$release (Debian, Ubuntu) or kernel-devel-$release (Fedora, Amazon Linux)"
}

# The compiler Linux was built with: its name and major version, e.g. "gcc 12". Plugins and flags depend on it.
kernel_compiler() {
  sed -n 's/^CONFIG_CC_VERSION_TEXT="\(.*\)"$/\1/p' "$headers/include/config/auto.conf" "$headers/.config" 2>/dev/null |
    head -n 1
}

major_of() {
  sed -n 's/^\(.*[^0-9.]\)\{0,1\}\([0-9][0-9]*\)\.[0-9][0-9.]*.*$/\2/p' | head -n 1
}

choose_compiler() {
  text=$(kernel_compiler)
  case $text in
    *clang*) family=clang ;;
    *) family=gcc ;;
  esac
  want=$(printf '%s\n' "$text" | sed 's/.*) //' | major_of)
  if [ -n "${CC:-}" ]; then
    cc=$CC
  elif [ -n "$want" ] && command -v "$family-$want" >/dev/null; then
    cc=$family-$want
  else
    cc=$family
  fi
  command -v "$cc" >/dev/null || fail 11 "no compiler '$cc'; kernel $release was built with $text; install ${family}-${want:-any}"
  have=$("$cc" -dumpversion | cut -d. -f1)
  [ -z "$want" ] || [ -n "${KKM_ANY_COMPILER:-}" ] || [ "$have" = "$want" ] ||
    fail 11 "compiler mismatch: kernel $release was built with $family $want, '$cc' is version $have; install $family-$want (or set KKM_ANY_COMPILER=1 to try)"
}

need_tools() {
  for tool in make ld objdump; do
    command -v "$tool" >/dev/null || fail 12 "'$tool' is missing; install make and binutils"
  done
  [ "$target" != check ] || command -v sparse >/dev/null || fail 12 "'sparse' is missing; install sparse"
}

compile() {
  need_headers
  need_tools
  choose_compiler
  log=$(mktemp) || fail 12 "no temporary file"
  if ! make -C "$here" KDIR="$headers" CC="$cc" "$target" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    fail 13 "does not compile for kernel $release; the lines above say why"
  fi
  rm -f "$log"
  echo "kkm: built $here/kkm.ko for kernel $release with $cc"
}

secure_boot() {
  grep -q '\[integrity\]\|\[confidentiality\]' /sys/kernel/security/lockdown 2>/dev/null && return 0
  [ "$(cat /sys/module/module/parameters/sig_enforce 2>/dev/null)" = Y ] && return 0
  for var in /sys/firmware/efi/efivars/SecureBoot-*; do
    [ -r "$var" ] && [ "$(od -An -t u1 -j 4 -N 1 "$var" | tr -d ' ')" = 1 ] && return 0
  done
  return 1
}

# insmod's words for the errno of finit_module(2) tell the reasons apart.
insert() {
  [ "$(id -u)" = 0 ] || fail 24 "only root can load a module"
  [ "$(cat /proc/sys/kernel/modules_disabled 2>/dev/null)" != 1 ] ||
    fail 21 "kernel.modules_disabled is 1: no module can be loaded until the next boot"
  [ -f "$here/kkm.ko" ] || fail 10 "no kkm.ko in $here; run build.sh without --load-only first"
  message=$(insmod "$here/kkm.ko" 2>&1) && return
  case $message in
    *"File exists"*) fail 24 "kkm is loaded already; rmmod kkm first" ;;
    *"Key was rejected"* | *"Required key not available"*)
      fail 20 "the kernel takes only modules signed with a key it knows (Secure Boot); sign kkm.ko with an enrolled key (mokutil --import, scripts/sign-file)" ;;
    *"Operation not permitted"*)
      if secure_boot; then
        fail 20 "rejected by Secure Boot or lockdown; sign kkm.ko with an enrolled key (mokutil --import, scripts/sign-file)"
      fi
      fail 24 "not permitted to load a module here (a container?)" ;;
    *"Invalid module format"* | *"Exec format error"* | *"invalid module format"*)
      fail 22 "kkm.ko is not for the running kernel $(uname -r); build without --kernel" ;;
    *"not supported"* | *[Uu]"nknown symbol"*)
      fail 23 "the kernel lacks something kkm needs: $(dmesg 2>/dev/null | grep 'kkm' | tail -n 1)" ;;
  esac
  fail 24 "$message"
}

if $build; then
  compile
fi
if $load; then
  insert
  echo "kkm: loaded"
fi
