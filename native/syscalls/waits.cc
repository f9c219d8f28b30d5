// SPDX-License-Identifier: Apache-2.0
// Waiting for children. A driver may have a process of its own (KKM's companion) that is a child on the host. Ordinary
// waits pass it over, for it sends no SIGCHLD when it ends; those for children of any kind must not see it either.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "native/syscalls/internal.h"

namespace km {
namespace {

constexpr uint64_t kAnyKind = static_cast<uint32_t>(__WALL | __WCLONE);

/// Whether the list of one thread's children (proc(5), "children") names another than `helper`.
bool list_has_other(int tasks, const char* tid, pid_t helper) {
  char path[32], list[4096];
  snprintf(path, sizeof path, "%s/children", tid);
  const int fd = openat(tasks, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno != ENOENT || faccessat(tasks, tid, F_OK, 0) == 0;  // unknown, unless the thread has ended
  const ssize_t length = read(fd, list, sizeof list - 1);
  close(fd);
  if (length < 0) return true;
  list[length] = 0;
  for (char *at = list, *end = nullptr;; at = end) {
    const long pid = strtol(at, &end, 10);
    if (end == at) return false;
    if (pid != helper) return true;
  }
}

/// Whether this process has a child besides `helper`. True when /proc does not tell.
bool has_other_child(pid_t helper) {
  DIR* threads = opendir("/proc/self/task");
  if (threads == nullptr) return true;
  bool found = false;
  while (!found) {
    const dirent* entry = readdir(threads);
    if (entry == nullptr) break;
    if (entry->d_name[0] != '.') found = list_has_other(dirfd(threads), entry->d_name, helper);
  }
  closedir(threads);
  return found;
}

/// Whether such a wait could find nothing but the driver's own process.
bool finds_helper_only(uint64_t options) {
  if ((options & kAnyKind) == 0) return false;
  const pid_t helper = process().machine->helper();
  return helper > 0 && !has_other_child(helper);
}

}  // namespace

int64_t sys_wait4(GuestThread& thread, const uint64_t args[6]) {
  return finds_helper_only(args[2]) ? -ECHILD : forward_syscall(thread, SYS_wait4, args);
}

int64_t sys_waitid(GuestThread& thread, const uint64_t args[6]) {
  return finds_helper_only(args[3]) ? -ECHILD : forward_syscall(thread, SYS_waitid, args);
}

}  // namespace km
