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

int GuestIov::load(uint64_t addr, uint64_t count) {
  if (count > IOV_MAX) return -EINVAL;
  if (int error = words_.load(addr, count * 2); error != 0) return error;
  size_ = count;
  for (size_t i = 0; i < count; i++) {
    // A length that only this kernel's MAX_RW_COUNT would cut is refused with EFAULT instead: no real buffer has it.
    if (!guest_range(words_[2 * i], words_[2 * i + 1])) return -EFAULT;
  }
  return 0;
}

iovec* GuestIov::data() { return reinterpret_cast<iovec*>(words_.data()); }  // same layout, checked above

namespace {

/// readv and all its relatives: (fd, iov, n, rest...).
int64_t vectored(GuestThread& thread, int64_t nr, const uint64_t args[6]) {
  GuestIov iov;
  if (int error = iov.load(args[1], static_cast<uint32_t>(args[2])); error != 0) return after_fd_check(args[0], error);
  return forward(thread, nr, args[0], word(iov.data()), iov.size(), args[3], args[4], args[5]);
}

/// process_vm_*: both lists name this process's memory, and only what lies in the window.
int64_t own_memory(GuestThread& thread, int64_t nr, const uint64_t args[6]) {
  if (static_cast<pid_t>(args[0]) != getpid()) return -EPERM;
  GuestIov local, remote;
  if (args[2] > IOV_MAX || args[4] > IOV_MAX) return -EINVAL;
  if (int error = local.load(args[1], args[2]); error != 0) return error;
  if (int error = remote.load(args[3], args[4]); error != 0) return error;
  return forward(thread, nr, args[0], word(local.data()), local.size(), word(remote.data()), remote.size(), args[5]);
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
