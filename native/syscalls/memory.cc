// SPDX-License-Identifier: Apache-2.0
// Memory calls: the mmap family is the address space's; the rest names ranges of the window.
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native/manage/report.h"
#include "native/syscalls/internal.h"

namespace km {
namespace {

AddressSpace& memory() { return *process().memory; }

int to_int(uint64_t value) { return static_cast<int>(value); }

/// Forwards a call on [args[0], args[0] + args[1]) after the range check. mlock and relatives take whole pages.
int64_t on_range(GuestThread& thread, int64_t nr, const uint64_t args[6]) {
  uint64_t start = args[0] & ~4095ull;
  uint64_t length = args[1] + (args[0] - start);
  if (length < args[1] || length > UINT64_MAX - 4095 || !memory().in_window(start, (length + 4095) & ~4095ull))
    return -ENOMEM;
  return forward_syscall(thread, nr, args);
}

/// Whoever set RLIMIT_DATA wants to tell a payload that met it from one that crashed by itself.
int64_t report_refusal(int64_t result) {
  if (result == -ENOMEM) report_no_memory();
  return result;
}

bool is_self(uint64_t pid) { return to_int(pid) == 0 || to_int(pid) == getpid(); }

}  // namespace

int64_t sys_mmap(GuestThread&, const uint64_t args[6]) {
  return report_refusal(
      memory().mmap(args[0], args[1], to_int(args[2]), to_int(args[3]), to_int(args[4]), args[5]));
}
int64_t sys_mprotect(GuestThread&, const uint64_t args[6]) {
  return memory().mprotect(args[0], args[1], to_int(args[2]));
}
int64_t sys_munmap(GuestThread&, const uint64_t args[6]) { return memory().munmap(args[0], args[1]); }
int64_t sys_brk(GuestThread&, const uint64_t args[6]) {
  const int64_t end = memory().brk(args[0]);
  if (args[0] != 0 && static_cast<uint64_t>(end) != args[0]) report_no_memory();
  return end;
}
int64_t sys_mremap(GuestThread&, const uint64_t args[6]) {
  return report_refusal(memory().mremap(args[0], args[1], args[2], to_int(args[3]), args[4]));
}
int64_t sys_remap_file_pages(GuestThread&, const uint64_t args[6]) { return memory().remap_file_pages(args); }
int64_t sys_msync(GuestThread&, const uint64_t args[6]) { return memory().msync(args[0], args[1], to_int(args[2])); }
int64_t sys_mincore(GuestThread&, const uint64_t args[6]) { return memory().mincore(args[0], args[1], args[2]); }
int64_t sys_madvise(GuestThread&, const uint64_t args[6]) {
  return memory().madvise(args[0], args[1], to_int(args[2]));
}

int64_t sys_pkey_mprotect(GuestThread&, const uint64_t args[6]) {
  if (to_int(args[3]) != -1) return -EINVAL;
  return memory().mprotect(args[0], args[1], to_int(args[2]));
}

int64_t sys_mlock(GuestThread& t, const uint64_t args[6]) { return on_range(t, SYS_mlock, args); }
int64_t sys_mlock2(GuestThread& t, const uint64_t args[6]) { return on_range(t, SYS_mlock2, args); }
int64_t sys_munlock(GuestThread& t, const uint64_t args[6]) { return on_range(t, SYS_munlock, args); }
int64_t sys_mbind(GuestThread& t, const uint64_t args[6]) { return on_range(t, SYS_mbind, args); }
int64_t sys_set_mempolicy_home_node(GuestThread& t, const uint64_t args[6]) {
  return on_range(t, SYS_set_mempolicy_home_node, args);
}

int64_t sys_mlockall(GuestThread&, const uint64_t args[6]) {
  const uint64_t flags = args[0];
  if (flags == 0 || (flags & ~uint64_t{MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT}) || flags == MCL_ONFAULT) return -EINVAL;
  // The host's MCL_CURRENT would lock the monitor too and count it against RLIMIT_MEMLOCK: only the payload's
  // mappings are locked, one by one. MCL_FUTURE is the host's.
  if (flags & MCL_FUTURE) {
    int64_t result = host_syscall(SYS_mlockall, flags & ~uint64_t{MCL_CURRENT});
    if (result < 0) return result;
  }
  if (!(flags & MCL_CURRENT)) return 0;
  int64_t result = 0;
  memory().for_each([&](uint64_t start, const Vma& vma) {
    if (result < 0) return;
    int64_t locked = host_syscall(SYS_mlock2, start, vma.end - start, flags & MCL_ONFAULT ? MLOCK_ONFAULT : 0);
    if (locked == -EPERM) result = locked;
    // As Linux, whose mlockall ignores mappings it cannot populate (PROT_NONE), but not the limit.
    if (locked == -ENOMEM && vma.prot != PROT_NONE) result = locked;
  });
  return result;
}

int64_t sys_munlockall(GuestThread& thread, const uint64_t args[6]) {
  return forward_syscall(thread, SYS_munlockall, args);
}

int64_t sys_get_mempolicy(GuestThread& thread, const uint64_t args[6]) {
  return forward(thread, SYS_get_mempolicy, args[0], args[1], args[2], safe_pointer(args[3]), args[4]);
}

int64_t sys_migrate_pages(GuestThread& thread, const uint64_t args[6]) {
  if (!is_self(args[0])) return -EPERM;
  return forward_syscall(thread, SYS_migrate_pages, args);
}

int64_t sys_move_pages(GuestThread& thread, const uint64_t args[6]) {
  if (!is_self(args[0])) return -EPERM;
  constexpr uint64_t kMost = 1 << 20;  // the kernel works in chunks of 16 anyway; bounds the copy
  if (args[1] > kMost) return -E2BIG;
  GuestArray<uint64_t, 16> pages;
  if (int error = pages.load(args[2], args[1]); error != 0) return error;
  for (uint64_t& page : pages) page = safe_range(page, 1);
  return forward(thread, SYS_move_pages, args[0], args[1], word(pages.data()), args[3], args[4], args[5]);
}

int64_t sys_km_unmapself(GuestThread& thread, const uint64_t args[6]) {
  memory().munmap(args[0], args[1]);
  const uint64_t status[6] = {};
  return sys_exit(thread, status);
}

}  // namespace km
