#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
#
# Process 1 of every lab guest until the agent takes over. /lab/config says STYLE (initramfs or root);
# /lab/modules holds the kernel modules to load, their names in load order.

/bin/busybox mkdir -p /bin /sbin /proc /sys /dev /run /tmp /etc /root
/bin/busybox --install -s /bin
export PATH=/bin:/sbin

fail() {
  echo "lab init: $*" >/dev/console
  sync
  poweroff -f
}

. /lab/config
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for file in /lab/modules/*.ko; do
  [ -e "$file" ] || continue
  insmod "$file" || fail "cannot load $file"
done

# the port's name comes from the host by a message of its own, on a loaded host some time after the driver is there
port=
for turn in $(seq 300); do
  for name in /sys/class/virtio-ports/*/name; do
    [ "$(cat "$name" 2>/dev/null)" = lab ] && port=/dev/$(basename "$(dirname "$name")")
  done
  [ -c "$port" ] && break
  sleep 0.1
done
[ -c "$port" ] || fail "the virtio-serial port named lab is missing"

root=
if [ "$STYLE" = root ]; then
  root=/newroot
  mkdir -p /host /over $root
  options=trans=virtio,version=9p2000.L,msize=512000
  # loose caching: the host's files are taken not to change while the guest runs
  mount -t 9p -o "$options,cache=loose,ro" host /host || fail "cannot mount the host's root over 9p"
  mount -t tmpfs -o size=80% tmpfs /over
  mkdir /over/upper /over/work
  mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work overlay $root ||
    fail "cannot mount the overlay"
  mount -t proc proc $root/proc
  mount -t sysfs sysfs $root/sys
  mount -t tmpfs -o mode=755 tmpfs $root/run
  mkdir -p "$root/lib/modules/$(uname -r)"
  mount -t 9p -o "$options,cache=loose,ro" modules "$root/lib/modules/$(uname -r)" ||
    fail "cannot mount the kernel's modules"
  mount --move /dev $root/dev
else
  ln -s /proc/self/mounts /etc/mtab
  echo root:x:0:0:root:/root:/bin/sh >/etc/passwd
  echo root:x:0: >/etc/group
fi

mkdir -p $root/dev/pts $root/dev/shm $root/run/lock $root/run/kontain-lab/share
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts $root/dev/pts
mount -t tmpfs -o mode=1777 tmpfs $root/dev/shm
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup 2>/dev/null
mount -t debugfs debugfs $root/sys/kernel/debug 2>/dev/null
mount -t tracefs tracefs $root/sys/kernel/tracing 2>/dev/null
ln -sf /proc/self/fd $root/dev/fd
ln -sf /proc/self/fd/0 $root/dev/stdin
ln -sf /proc/self/fd/1 $root/dev/stdout
ln -sf /proc/self/fd/2 $root/dev/stderr
[ -e $root/dev/kvm ] && chmod 666 $root/dev/kvm
ip link set lo up
hostname lab
if [ "$STYLE" = root ]; then
  # the share is where host and guest exchange files while both run: nothing of it is cached
  mount -t 9p -o "$options,cache=none" share $root/run/kontain-lab/share || fail "cannot mount the share"
fi
cp /lab/agent $root/run/kontain-lab/agent
cp -r /lab/suite $root/run/kontain-lab/suite
[ -n "$root" ] && exec switch_root -c /dev/console $root /run/kontain-lab/agent "$port"
exec /run/kontain-lab/agent "$port"
