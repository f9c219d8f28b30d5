// SPDX-License-Identifier: Apache-2.0
// Calls that change the signal mask while they wait. The host does the swap; the monitor remembers both masks, because
// a handler runs under the temporary one and returns to the old one.
#include <errno.h>
#include <sys/syscall.h>

#include "native/machine/process.h"
#include "native/machine/signals.h"
#include "native/syscalls/spec.h"
#include "native/syscalls/syscalls.h"
#include "native/syscalls/waiting.h"

namespace km {
namespace {

constexpr uint64_t kNeverBlocked = (1ull << (SIGSEGV - 1)) | (1ull << (SIGBUS - 1));

/// Forwards `nr` with the mask at guest address args[mask_arg] replaced by a checked copy.
int64_t wait_with_mask(GuestThread& thread, int64_t nr, const uint64_t args[6], unsigned mask_arg, uint64_t size) {
  uint64_t call[6] = {args[0], args[1], args[2], args[3], args[4], args[5]};
  if (args[mask_arg] == 0) return forward_syscall(thread, nr, call);
  if (size != 8) {  // EINVAL before the mask is looked at; ENOSYS where the host has no such call
    call[mask_arg] = kNowhere;
    return forward_syscall(thread, nr, call);
  }
  uint64_t mask = 0;
  if (copy_from_guest(&mask, args[mask_arg], sizeof mask) != 0) return -EFAULT;
  uint64_t host_mask = mask & ~kNeverBlocked;
  call[mask_arg] = reinterpret_cast<uint64_t>(&host_mask);
  thread.wait_mask = mask;
  thread.in_masked_wait = true;
  int64_t result = forward_syscall(thread, nr, call);
  // A captured signal is delivered under the temporary mask; without one the wait is simply over.
  if (!signal_waiting(thread)) thread.in_masked_wait = false;
  return result;
}

bool bad(uint64_t pointer, uint64_t len) { return pointer != 0 && !process().memory->in_window(pointer, len); }

}  // namespace

int64_t sys_rt_sigsuspend(GuestThread& thread, const uint64_t args[6]) {
  if (args[0] == 0) return -EFAULT;
  return wait_with_mask(thread, SYS_rt_sigsuspend, args, 0, args[1]);
}

int64_t sys_pause(GuestThread& thread, const uint64_t args[6]) { return forward_syscall(thread, SYS_pause, args); }

int64_t sys_rt_sigtimedwait(GuestThread& thread, const uint64_t args[6]) {
  if (bad(args[0], 8) || bad(args[1], sizeof(siginfo_t)) || bad(args[2], 16)) return -EFAULT;
  if (args[0] == 0) return -EFAULT;
  uint64_t set = 0;
  if (args[3] != 8) return -EINVAL;
  if (copy_from_guest(&set, args[0], sizeof set) != 0) return -EFAULT;
  for (siginfo_t& info : thread.deferred) {
    if (info.si_signo == 0 || !(set >> (info.si_signo - 1) & 1)) continue;
    int signo = info.si_signo;
    if (args[1] != 0 && copy_to_guest(args[1], &info, sizeof info) != 0) return -EFAULT;
    info.si_signo = 0;
    return signo;
  }
  return forward_syscall(thread, SYS_rt_sigtimedwait, args);
}

int64_t sys_ppoll(GuestThread& thread, const uint64_t args[6]) {
  if (args[1] > 0x7fffffff / 8) return -EINVAL;
  if (bad(args[0], args[1] * 8) || bad(args[2], 16)) return -EFAULT;
  PolledFds fds;
  fds.load(args[0], static_cast<uint32_t>(args[1]));
  const uint64_t call[6] = {fds.address(), args[1], args[2], args[3], args[4], 0};
  return fds.store(wait_with_mask(thread, SYS_ppoll, call, 3, args[4]));
}

int64_t sys_pselect6(GuestThread& thread, const uint64_t args[6]) {
  if (bad(args[1], 128) || bad(args[2], 128) || bad(args[3], 128) || bad(args[4], 16)) return -EFAULT;
  if (selects_private_fd(args)) return -EBADF;
  struct {
    uint64_t mask, size;
  } pack{};
  if (args[5] != 0 && copy_from_guest(&pack, args[5], sizeof pack) != 0) return -EFAULT;
  uint64_t call[6] = {args[0], args[1], args[2], args[3], args[4], 0};
  if (pack.mask == 0) return forward_syscall(thread, SYS_pselect6, call);
  if (pack.size != 8) return -EINVAL;
  uint64_t mask = 0;
  if (copy_from_guest(&mask, pack.mask, sizeof mask) != 0) return -EFAULT;
  uint64_t host_mask = mask & ~kNeverBlocked;
  pack.mask = reinterpret_cast<uint64_t>(&host_mask);
  call[5] = reinterpret_cast<uint64_t>(&pack);
  thread.wait_mask = mask;
  thread.in_masked_wait = true;
  int64_t result = forward_syscall(thread, SYS_pselect6, call);
  if (!signal_waiting(thread)) thread.in_masked_wait = false;
  return result;
}

int64_t sys_epoll_pwait(GuestThread& thread, const uint64_t args[6]) {
  if (static_cast<int64_t>(args[2]) > 0 && args[2] > 0x7fffffff / 12) return -EINVAL;
  if (bad(args[1], (args[2] & 0x7fffffff) * 12)) return -EFAULT;
  return wait_with_mask(thread, SYS_epoll_pwait, args, 4, args[5]);
}

int64_t sys_epoll_pwait2(GuestThread& thread, const uint64_t args[6]) {
  constexpr int64_t kEpollPwait2 = 441;
  if (bad(args[1], (args[2] & 0x7fffffff) * 12) || bad(args[3], 16)) return -EFAULT;
  return wait_with_mask(thread, kEpollPwait2, args, 4, args[5]);
}

}  // namespace km
