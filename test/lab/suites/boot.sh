# SPDX-License-Identifier: Apache-2.0
# The guest is up: kernel, CPUs and file systems are what the lab asked for.
set -eu
uname -a
grep -c ^processor /proc/cpuinfo | grep -qx 2
for place in /proc /sys /dev /dev/pts /dev/shm; do
  grep -q " $place " /proc/mounts || { echo "$place is not mounted"; exit 1; }
done
grep -q lo: /proc/net/dev
echo 'written and read' >/tmp/file
grep -q 'written and read' /tmp/file
