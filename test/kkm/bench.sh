# SPDX-License-Identifier: Apache-2.0
# What a system call and a page fault cost a program: natively, under km on /dev/kvm (nested SVM) and on /dev/kkm, all on
# this boot. Ratios to native; QEMU's emulated processor only ranks. With kkm_bench=pair: the module's own part, guest and
# monitor on one CPU and on two. Under -icount a nanosecond is an instruction.
set -eu

. "$LAB_SUITE/module.sh"

insmod "$LAB_SUITE/kkm.ko"
if grep -q kkm_bench=pair /proc/cmdline; then
  "$LAB_SUITE/kkm-bench" 2000
  unload
  exit 0
fi
km=build/bin/km
[ -x $km ] || { echo "km is not built: npm run build:native"; exit 77; }
out=$(mktemp -d)
payload=$LAB_SUITE/kkm-payload
"$payload" >"$out"/native
"$km" --virt-device=/dev/kvm "$payload" >"$out"/kvm
"$km" --virt-device=/dev/kkm "$payload" >"$out"/kkm
echo N >/sys/module/kkm/parameters/pin
"$km" --virt-device=/dev/kkm "$payload" >"$out"/kkm-unpinned
printf '%-8s %10s %18s %18s %18s\n' '' native 'KVM (SVM)' KKM 'KKM unpinned'
paste -d ' ' "$out"/native "$out"/kvm "$out"/kkm "$out"/kkm-unpinned | while read -r name native _ kvm _ kkm _ unpinned; do
  echo "$name $native $kvm $kkm $unpinned"
done | awk '{ printf "%-8s %7.0f ns %9.0f ns x%-5.1f %9.0f ns x%-5.1f %9.0f ns x%-5.1f\n",
  $1, $2, $3, $3 / $2, $4, $4 / $2, $5, $5 / $2 }'
unload
