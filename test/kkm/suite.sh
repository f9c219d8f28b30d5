# SPDX-License-Identifier: Apache-2.0
# Run by the lab in a guest: the module and the programs beside it are in $LAB_SUITE.
#   KKM_PROGRAMS  which programs, with arguments separated by ':' (default: all)
set -eu
programs=${KKM_PROGRAMS:-kkm-checks kkm-memory kkm-ioctls kkm-lifetime kkm-tamper kkm-threads kkm-quiet}

. "$LAB_SUITE/module.sh"

failed=
in_cgroup
insmod "$LAB_SUITE/kkm.ko"
[ "$(stat -c %a /dev/kkm)" = 660 ] || failed="$failed, /dev/kkm is not 0660"
dmesg >/tmp/before
for program in $programs; do
  echo "== $program"
  "$LAB_SUITE/$(echo "$program" | cut -d: -f1)" $(echo "$program" | cut -s -d: -f2- | tr : ' ') || failed="$failed, $program"
done
cd /sys/class/misc/kkm/counters && grep . ./* && cd /
dmesg >/tmp/after
# A guest must not be able to write the kernel log, however it faults. Two rate-limited notes of Linux itself come
# before the module: a call into the vsyscall page where there is none, and UMIP's (kkm-quiet bounds them; docs/kkm.md).
if grep -E 'kkm-|traps:|segfault' /tmp/after | grep -vF -f /tmp/before | grep -vE 'vsyscall (attempted|\(exploit)|umip: '; then
  echo "the guests left these lines in the kernel log"
  failed="$failed, lines in the kernel log"
fi
case " $programs " in
  *" kkm-quiet "*) echo "== kkm-oom" && "$LAB_SUITE/kkm-oom" || failed="$failed, kkm-oom" ;; # last: the OOM killer does write a log
esac
unload
insmod "$LAB_SUITE/kkm.ko"
unload
[ -z "$failed" ] || { echo "failed: ${failed#, }"; exit 1; }
