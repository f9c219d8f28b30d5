# SPDX-License-Identifier: Apache-2.0
# Both fuzzers at once, for KKM_FUZZ_SECONDS (default 60), then the module must still unload.
#   KKM_FUZZ_SEED  of the random guests; default: a new one, printed
set -eu
seconds=${KKM_FUZZ_SECONDS:-60}
. "$LAB_SUITE/module.sh"
in_cgroup
insmod "$LAB_SUITE/kkm.ko"
seed=${KKM_FUZZ_SEED:-$(od -An -N6 -tu8 /dev/urandom | tr -d ' ')}
echo "seed $seed" # at once: an emulator that dies of an instruction takes the guest's files along
"$LAB_SUITE/kkm-fuzz_guest" "$seconds" "$seed" >/tmp/guest &
guest=$!
"$LAB_SUITE/kkm-fuzz_ioctl" "$seconds" >/tmp/ioctl &
ioctl=$!
failed=0
wait $guest || failed=1
wait $ioctl || failed=1
cat /tmp/guest /tmp/ioctl
unload
exit $failed
