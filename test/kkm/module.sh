# SPDX-License-Identifier: Apache-2.0
# What the suites of the module share; read with `. "$LAB_SUITE/module.sh"`.

# Takes the module out, or says that it does not go. The last machine's work may still hold it for a moment.
unload() {
  for turn in 1 2 3 4 5 6 7 8 9 10; do
    rmmod kkm 2>/dev/null && return
    sleep 0.3
  done
  echo "kkm does not unload"
  lsmod
  ps
  return 1
}

# As in a container or a service: this shell and what it starts are in a cgroup, to which memory is charged.
in_cgroup() {
  echo +memory >/sys/fs/cgroup/cgroup.subtree_control
  mkdir -p /sys/fs/cgroup/kkm
  echo $$ >/sys/fs/cgroup/kkm/cgroup.procs
}
