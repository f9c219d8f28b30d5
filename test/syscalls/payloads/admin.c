// SPDX-License-Identifier: Apache-2.0
// What only root may do, in namespaces of its own where it would show outside, and else asked for wrongly.
#include <sched.h>
#include <sys/mount.h>
#include <sys/quota.h>

#include "newer.h"
#include "say.h"

static void names(void) {
  if (RAW(unshare, CLONE_NEWUTS) != 0) line("unshare: %s", strerrorname_np(errno));
  OK(sethostname, "inner", 5);
  OK(setdomainname, "domain", 6);
  char text[65] = "";
  gethostname(text, sizeof text);
  line("inner %d", strcmp(text, "inner") == 0);
  DO(sethostname, "x", 65);
}

static void file_systems(void) {
  char text[256];
  if (RAW(unshare, CLONE_NEWNS) != 0) line("unshare: %s", strerrorname_np(errno));
  OK(mount, "none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
  mkdir("m", 0755);
  OK(mount, "tmpfs", "m", "tmpfs", 0, "size=64k");
  OK(umount2, "m", 0);
  DO(umount2, "not mounted", 0);
  int fd = OK(fsopen, "tmpfs", 0);
  OK(fsconfig, fd, 1 /* FSCONFIG_SET_STRING */, "size", "64k", 0);
  OK(fsconfig, fd, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0);
  int mounted = OK(fsmount, fd, 0, 0);
  OK(move_mount, mounted, "", AT_FDCWD, "m", 4 /* MOVE_MOUNT_F_EMPTY_PATH */);
  close(mounted);
  close(fd);
  fd = OK(fspick, AT_FDCWD, "m", 0);
  close(fd);
  fd = OK(open_tree, AT_FDCWD, "m", 1 /* OPEN_TREE_CLONE */);
  struct { uint64_t set, clear, propagation, userns; } attr = {1 /* MOUNT_ATTR_RDONLY */, 0, 0, 0};
  OK(mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr);
  close(fd);
  fd = OK(open_tree_attr, AT_FDCWD, "m", 1, &attr, sizeof attr);
  if (fd >= 0) close(fd);
  struct { uint32_t size, spare; uint64_t id, param, ns; } request = {24, 0, ~0ull, 0, 0};
  uint64_t ids[8];
  OK(listmount, &request, ids, 8, 0);
  OK(statmount, &request, text, sizeof text, 0);
  DO(quotactl, QCMD(Q_SYNC, USRQUOTA), "/no/such/device", 0, NULL);
  fd = open("m", O_RDONLY | O_DIRECTORY);
  OK(quotactl_fd, fd, QCMD(Q_GETFMT, USRQUOTA), 0, text);
  close(fd);
  DO(pivot_root, "m", "m");
  DO(swapon, "/no/such/file", 0);
  DO(swapoff, "/no/such/file");
  OK(chroot, "m");
  DO(openat, AT_FDCWD, "/etc", O_RDONLY);
  DO(chroot, "/missing");
}

int main(void) {
  in_child("names", names);
  in_child("file systems", file_systems);
  return 0;
}
