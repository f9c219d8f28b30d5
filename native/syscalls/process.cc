// SPDX-License-Identifier: Apache-2.0
// What the payload learns of its process and of the system, and lists the kernel must not walk for it.
#include <errno.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>

#include "native/base/private_fd.h"
#include "native/machine/clone.h"
#include "native/syscalls/internal.h"

namespace km {

int64_t sys_uname(GuestThread&, const uint64_t args[6]) {
  utsname name;
  if (int64_t error = host_syscall(SYS_uname, word(&name)); error != 0) return error;
  // Language bindings of the original recognise it by "kontain" in the release.
  char suffix[24];
  snprintf(suffix, sizeof(suffix), ".kontain.%s", strcmp(process().machine->kind(), "kkm") == 0 ? "KKM" : "KVM");
  size_t length = strnlen(name.release, sizeof(name.release));
  if (length + strlen(suffix) < sizeof(name.release)) memcpy(name.release + length, suffix, strlen(suffix) + 1);
  return copy_to_guest(args[0], &name, sizeof(name));
}

int64_t sys_personality(GuestThread& thread, const uint64_t args[6]) {
  const uint32_t persona = static_cast<uint32_t>(args[0]);
  constexpr uint32_t kQuery = 0xffffffff;
  constexpr uint32_t kHarmless = ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT | UNAME26 | WHOLE_SECONDS | SHORT_INODE;
  if (persona != kQuery && (persona & ~kHarmless) != PER_LINUX) {
    log_refused_once("personality", persona);
    return -EINVAL;
  }
  return forward_syscall(thread, SYS_personality, args);
}

int64_t sys_sysfs(GuestThread& thread, const uint64_t args[6]) {
  // 1: name to index (string in), 2: index to name (string out), 3: how many. sysfs(2)
  const int option = static_cast<int>(args[0]);
  return forward(thread, SYS_sysfs, args[0], option == 1 ? safe_pointer(args[1]) : args[1], safe_pointer(args[2]));
}

int64_t sys_kcmp(GuestThread& thread, const uint64_t args[6]) {
  if (static_cast<pid_t>(args[0]) != getpid() || static_cast<pid_t>(args[1]) != getpid()) return -EPERM;
  const int type = static_cast<int>(args[2]);
  const bool files = type == KCMP_FILE || type == KCMP_EPOLL_TFD;
  if (files && is_private_fd(static_cast<int>(args[3]))) return -EBADF;
  if (type == KCMP_FILE && is_private_fd(static_cast<int>(args[4]))) return -EBADF;
  return forward(thread, SYS_kcmp, args[0], args[1], args[2], args[3],
                 type == KCMP_EPOLL_TFD ? safe_pointer(args[4]) : args[4]);
}

int64_t sys_unshare(GuestThread& thread, const uint64_t args[6]) {
  if (!(args[0] & CLONE_NEWUSER)) return forward_syscall(thread, SYS_unshare, args);
  log_refused_once("a user namespace, unshare flags", args[0]);
  return -EPERM;
}

int64_t sys_restart_syscall(GuestThread&, const uint64_t[6]) { return -EINTR; }

// --- robust futexes --------------------------------------------------------------------------------------------------
//
// The host kernel writes to every address a robust list names when a thread dies, the monitor's included: so the list
// stays with the monitor, which walks it at thread exit and touches only the payload's writable memory.

namespace {

struct RobustHead {  // struct robust_list_head, linux/futex.h
  uint64_t next;
  int64_t futex_offset;
  uint64_t pending;
};

constexpr unsigned kRobustLimit = 2048;  // ROBUST_LIST_LIMIT

/// Can the payload's word be written? Asks the kernel, which survives a hole: adds 0 to it (futex(2), FUTEX_WAKE_OP).
bool is_writable_word(uint64_t address) {
  uint32_t other = 0;
  constexpr uint32_t kAddNothing = FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_LT, 0x800u);
  return host_syscall(SYS_futex, word(&other), FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 0, 0, address, kAddNothing) >= 0;
}

/// What the kernel does for one lock word of a dead owner, under the address space's lock so that the page stays.
/// (A file mapping truncated at this very moment ends the process by SIGBUS.)
void mark_owner_dead(uint64_t address, pid_t tid, bool pi) {
  if (address % 4 != 0 || !process().memory->in_window(address, 4)) return;
  bool wake = false;
  process().memory->for_each([&](uint64_t start, const Vma& vma) {
    if (address < start || address >= vma.end || !(vma.access() & kWrite) || !is_writable_word(address)) return;
    // Aligned, inside a writable mapping of the payload.
    uint32_t* futex = reinterpret_cast<uint32_t*>(address);
    uint32_t old = __atomic_load_n(futex, __ATOMIC_RELAXED);
    while ((old & FUTEX_TID_MASK) == static_cast<uint32_t>(tid)) {
      uint32_t dead = (old & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
      if (!__atomic_compare_exchange_n(futex, &old, dead, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) continue;
      wake = !pi && (old & FUTEX_WAITERS);
      return;
    }
  });
  if (wake) host_syscall(SYS_futex, address, FUTEX_WAKE, 1);
}

}  // namespace

int64_t sys_set_robust_list(GuestThread& thread, const uint64_t args[6]) {
  if (args[1] != sizeof(RobustHead)) return -EINVAL;
  thread.robust_list = args[0];
  return 0;
}

int64_t sys_get_robust_list(GuestThread& thread, const uint64_t args[6]) {
  const pid_t tid = static_cast<pid_t>(args[0]);
  if (tid != 0 && tid != thread.tid) return -EPERM;
  const uint64_t size = sizeof(RobustHead);
  if (copy_to_guest(args[2], &size, sizeof(size)) != 0) return -EFAULT;
  return copy_to_guest(args[1], &thread.robust_list, sizeof(thread.robust_list));
}

void robust_list_exit(GuestThread& thread) {
  RobustHead head;
  const uint64_t list = thread.robust_list;
  thread.robust_list = 0;
  if (list == 0 || copy_from_guest(&head, list, sizeof(head)) != 0) return;
  const uint64_t pending = head.pending & ~1ull;
  uint64_t entry = head.next;
  for (unsigned n = 0; n < kRobustLimit && (entry & ~1ull) != list; n++) {
    uint64_t next = 0;
    const bool more = copy_from_guest(&next, entry & ~1ull, sizeof(next)) == 0;
    if ((entry & ~1ull) != pending)
      mark_owner_dead((entry & ~1ull) + static_cast<uint64_t>(head.futex_offset), thread.tid, entry & 1);
    if (!more) break;
    entry = next;
  }
  if (pending != 0) mark_owner_dead(pending + static_cast<uint64_t>(head.futex_offset), thread.tid, head.pending & 1);
}

}  // namespace km
