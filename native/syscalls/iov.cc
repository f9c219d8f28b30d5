// SPDX-License-Identifier: Apache-2.0
// Scatter/gather lists: copied out of the payload's reach, every element checked, the copy given to the kernel.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "native/syscalls/internal.h"

namespace km {

static_assert(sizeof(iovec) == 2 * sizeof(uint64_t));

uint64_t GuestIov::load(uint64_t addr, uint64_t count) {
  if (count > IOV_MAX || words_.load(addr, count * 2) != 0) return kNowhere;
  // A length that only this kernel's MAX_RW_COUNT would cut counts as outside: no real buffer has it.
  for (size_t i = 0; i < count; i++) words_[2 * i] = safe_range(words_[2 * i], words_[2 * i + 1]);
  return word(words_.data());
}

namespace {

/// readv and all its relatives: (fd, iov, n, rest...).
int64_t vectored(GuestThread& thread, int64_t nr, const uint64_t args[6]) {
  GuestIov iov;
  const uint64_t copy = iov.load(args[1], static_cast<uint32_t>(args[2]));
  return forward(thread, nr, args[0], copy, static_cast<uint32_t>(args[2]), args[3], args[4], args[5]);
}

/// process_vm_*: both lists name this process's memory, and only what lies in the window.
int64_t own_memory(GuestThread& thread, int64_t nr, const uint64_t args[6]) {
  if (static_cast<pid_t>(args[0]) != getpid()) return -EPERM;
  GuestIov local, remote;
  const uint64_t here = local.load(args[1], args[2]), there = remote.load(args[3], args[4]);
  return forward(thread, nr, args[0], here, args[2], there, args[4], args[5]);
}

}  // namespace

int64_t sys_readv(GuestThread& t, const uint64_t args[6]) { return vectored(t, SYS_readv, args); }
int64_t sys_writev(GuestThread& t, const uint64_t args[6]) { return vectored(t, SYS_writev, args); }
int64_t sys_preadv(GuestThread& t, const uint64_t args[6]) { return vectored(t, SYS_preadv, args); }
int64_t sys_pwritev(GuestThread& t, const uint64_t args[6]) { return vectored(t, SYS_pwritev, args); }
int64_t sys_preadv2(GuestThread& t, const uint64_t args[6]) { return vectored(t, SYS_preadv2, args); }
int64_t sys_pwritev2(GuestThread& t, const uint64_t args[6]) { return vectored(t, SYS_pwritev2, args); }
int64_t sys_vmsplice(GuestThread& t, const uint64_t args[6]) { return vectored(t, SYS_vmsplice, args); }

int64_t sys_process_vm_readv(GuestThread& t, const uint64_t args[6]) {
  return own_memory(t, SYS_process_vm_readv, args);
}
int64_t sys_process_vm_writev(GuestThread& t, const uint64_t args[6]) {
  return own_memory(t, SYS_process_vm_writev, args);
}

}  // namespace km
