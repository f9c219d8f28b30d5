// SPDX-License-Identifier: Apache-2.0
// clone, clone3, fork, vfork (man 2 clone): flags are checked as Linux does, then one of the three shapes is made.
#include "native/machine/clone.h"

#include <errno.h>
#include <signal.h>

#include "native/base/log.h"
#include "native/machine/process.h"
#include "native/syscalls/syscalls.h"

namespace km {
namespace {

constexpr uint64_t kThread = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;

/// Combinations Linux refuses (kernel/fork.c, copy_process), which the host may never get to see.
bool contradictory(const CloneRequest& request) {
  const uint64_t flags = request.flags;
  if ((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND)) return true;
  if ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM)) return true;
  if ((flags & CLONE_SIGHAND) && (flags & CLONE_CLEAR_SIGHAND)) return true;
  if ((flags & CLONE_FS) && (flags & (CLONE_NEWNS | CLONE_NEWUSER))) return true;
  if ((flags & CLONE_SYSVSEM) && (flags & CLONE_NEWIPC)) return true;
  return request.exit_signal > 64;  // _NSIG
}

int64_t clone_any(GuestThread& thread, const CloneRequest& request) {
  if (contradictory(request)) return -EINVAL;
  const uint64_t flags = request.flags;
  if (flags & CLONE_NEWUSER) return -EPERM;  // as unshare (table.def)
  if ((flags & kThread) == kThread && !(flags & CLONE_PIDFD)) return clone_thread(thread, request);
  if ((flags & (CLONE_VM | CLONE_VFORK | CLONE_THREAD)) == (CLONE_VM | CLONE_VFORK)) {
    return clone_vfork(thread, request);
  }
  if (flags & (CLONE_VM | CLONE_FILES)) {
    KM_LOG("clone flags 0x%lx: a process that shares memory or descriptors with its parent is not offered", flags);
    return -ENOSYS;
  }
  return clone_process(thread, request);
}

}  // namespace

int64_t sys_clone(GuestThread& thread, const uint64_t args[6]) {
  CloneRequest request;
  request.flags = (args[0] & 0xffffffff) & ~uint64_t{CSIGNAL};
  request.exit_signal = static_cast<int>(args[0] & CSIGNAL);
  request.stack = args[1];
  request.parent_tid = args[2];
  request.child_tid = args[3];
  request.tls = args[4];
  request.pidfd = args[2];
  if ((request.flags & CLONE_PIDFD) && (request.flags & (CLONE_PARENT_SETTID | CLONE_DETACHED))) return -EINVAL;
  return clone_any(thread, request);
}

int64_t sys_clone3(GuestThread& thread, const uint64_t args[6]) {
  // struct clone_args (man 2 clone3): flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid ...
  uint64_t a[11] = {};
  if (args[1] < 64) return -EINVAL;
  if (args[1] > 4096) return -E2BIG;
  if (int rc = copy_from_guest(a, args[0], args[1] < sizeof a ? args[1] : sizeof a); rc != 0) return rc;
  if ((a[0] & CLONE_INTO_CGROUP) || a[8] != 0 || a[9] != 0) {
    KM_LOG("clone3 flags 0x%lx (set_tid or cgroup) are not offered", a[0]);
    return -ENOSYS;
  }
  if (a[0] & (CLONE_DETACHED | CSIGNAL)) return -EINVAL;
  if ((a[0] & (CLONE_THREAD | CLONE_PARENT)) && a[4] != 0) return -EINVAL;
  if (a[4] > 64 || (a[5] == 0) != (a[6] == 0)) return -EINVAL;
  CloneRequest request{a[0], a[5] + a[6], a[3], a[2], a[7], static_cast<int>(a[4]), a[1]};
  return clone_any(thread, request);
}

int64_t sys_fork(GuestThread& thread, const uint64_t*) {
  CloneRequest request;
  request.exit_signal = SIGCHLD;
  return clone_process(thread, request);
}

int64_t sys_vfork(GuestThread& thread, const uint64_t*) {
  CloneRequest request;
  request.flags = CLONE_VM | CLONE_VFORK;
  request.exit_signal = SIGCHLD;
  return clone_vfork(thread, request);
}

}  // namespace km
