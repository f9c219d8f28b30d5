# SPDX-License-Identifier: Apache-2.0
# Both fuzzers at once, for KKM_FUZZ_SECONDS (default 60), then the module must still unload.
#   KKM_FUZZ_SEED  of the random guests; default: a new one, printed
set -eu
seconds=${KKM_FUZZ_SECONDS:-60}
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/kkm-fuzz
echo $$ >/sys/fs/cgroup/kkm-fuzz/cgroup.procs # as in a container: memory is charged
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
for turn in 1 2 3 4 5 6 7 8 9 10; do
  rmmod kkm 2>/dev/null && exit $failed
  sleep 0.3
done
echo "kkm does not unload"
ps
exit 1
