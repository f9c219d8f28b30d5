# SPDX-License-Identifier: Apache-2.0
# Nested SVM gives a /dev/kvm that runs guests, again and again.
set -eu
grep -q ' svm ' /proc/cpuinfo || { echo "the CPU model has no svm"; exit 1; }
[ "$(cat /sys/module/kvm_amd/parameters/npt)" = Y ] || [ "$(cat /sys/module/kvm_amd/parameters/npt)" = 1 ]
for turn in 1 2 3; do
  "$LAB_SUITE/kvm-probe" /dev/kvm
done
