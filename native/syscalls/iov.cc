// SPDX-License-Identifier: Apache-2.0
// Scatter/gather lists: copied out of the payload's reach, every element checked, the copy given to the kernel.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

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

/// One of the lists of process_vm_*: what is left of it.
class Pieces {
 public:
  /// 0, -EINVAL or -EFAULT.
  int load(uint64_t addr, uint64_t count) {
    if (count > IOV_MAX) return -EINVAL;
    if (int error = words_.load(addr, count * 2); error != 0) return error;
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
      const bool negative = words_[2 * i + 1] > INT64_MAX;
      if (negative || __builtin_add_overflow(total, words_[2 * i + 1], &total) || total > INT64_MAX) return -EINVAL;
    }
    count_ = count;
    empty_ = total == 0;
    return 0;
  }
  bool empty() const { return empty_; }
  /// Bytes in one piece from here on, at most `most`; 0 at the end.
  size_t next(uint64_t* addr, size_t most) {
    while (at_ < count_ && words_[2 * at_ + 1] == 0) at_++;
    if (at_ == count_) return 0;
    *addr = words_[2 * at_];
    return std::min<uint64_t>(most, words_[2 * at_ + 1]);
  }
  void advance(size_t length) {
    words_[2 * at_] += length;
    words_[2 * at_ + 1] -= length;
  }

 private:
  GuestArray<uint64_t, 16> words_;
  size_t count_ = 0, at_ = 0;
  bool empty_ = true;
};

/// process_vm_*: of this process only, copied by the monitor itself. On the host the calls reach every process of the
/// user's, so the seccomp filter has none of them.
int64_t own_memory(const uint64_t args[6], bool reads) {
  if (static_cast<pid_t>(args[0]) != getpid()) return -EPERM;
  if (args[5] != 0) return -EINVAL;
  Pieces local, remote;
  if (int error = local.load(args[1], args[2]); error != 0) return error;
  if (local.empty()) return 0;  // before the other list is looked at, as Linux has it
  if (int error = remote.load(args[3], args[4]); error != 0) return error;
  Pieces &from = reads ? remote : local, &to = reads ? local : remote;
  char buffer[4096];
  int64_t done = 0;
  for (;;) {
    uint64_t source = 0, target = 0;
    size_t length = from.next(&source, sizeof buffer);
    length = std::min(length, size_t{sizeof buffer - source % sizeof buffer});  // the next page may be missing
    length = to.next(&target, length);
    if (length == 0) return done;
    if (copy_from_guest(buffer, source, length) != 0 || copy_to_guest(target, buffer, length) != 0)
      return done != 0 ? done : -EFAULT;
    from.advance(length);
    to.advance(length);
    done += static_cast<int64_t>(length);
  }
}

}  // namespace

int64_t sys_readv(GuestThread& t, const uint64_t args[6]) { return vectored(t, SYS_readv, args); }
int64_t sys_writev(GuestThread& t, const uint64_t args[6]) { return vectored(t, SYS_writev, args); }
int64_t sys_preadv(GuestThread& t, const uint64_t args[6]) { return vectored(t, SYS_preadv, args); }
int64_t sys_pwritev(GuestThread& t, const uint64_t args[6]) { return vectored(t, SYS_pwritev, args); }
int64_t sys_preadv2(GuestThread& t, const uint64_t args[6]) { return vectored(t, SYS_preadv2, args); }
int64_t sys_pwritev2(GuestThread& t, const uint64_t args[6]) { return vectored(t, SYS_pwritev2, args); }
int64_t sys_vmsplice(GuestThread& t, const uint64_t args[6]) { return vectored(t, SYS_vmsplice, args); }

int64_t sys_process_vm_readv(GuestThread&, const uint64_t args[6]) { return own_memory(args, true); }
int64_t sys_process_vm_writev(GuestThread&, const uint64_t args[6]) { return own_memory(args, false); }

}  // namespace km
