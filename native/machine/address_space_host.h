// SPDX-License-Identifier: Apache-2.0
// The host's memory calls, raw: result or -errno, errno untouched (the address space is used from signal-laden
// threads). Private to native/machine/address_space*.
#pragma once

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdint>

// Younger than Debian 12's headers (linux/mman.h, asm-generic/mman-common.h).
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

namespace km::host {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kHuge = 2ULL << 20;

constexpr uint64_t align_down(uint64_t value, uint64_t align) { return value & ~(align - 1); }
/// Wraps to 0 when the result does not fit.
constexpr uint64_t align_up(uint64_t value, uint64_t align) { return (value + align - 1) & ~(align - 1); }

inline int64_t call(int64_t nr, uint64_t a0 = 0, uint64_t a1 = 0, uint64_t a2 = 0, uint64_t a3 = 0, uint64_t a4 = 0,
                    uint64_t a5 = 0) {
  register uint64_t r10 asm("r10") = a3;
  register uint64_t r8 asm("r8") = a4;
  register uint64_t r9 asm("r9") = a5;
  int64_t result;
  // The kernel's calling convention (man 2 syscall): rcx and r11 are lost, memory may change.
  asm volatile("syscall"
               : "=a"(result)
               : "a"(nr), "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

inline uint64_t word(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }  // kernel ABI wants integers

inline int64_t mmap(uint64_t addr, uint64_t len, int prot, int flags, int fd, uint64_t offset) {
  return call(SYS_mmap, addr, len, uint64_t(prot), uint64_t(flags), uint64_t(int64_t{fd}), offset);
}
inline int64_t munmap(uint64_t addr, uint64_t len) { return call(SYS_munmap, addr, len); }
inline int64_t mprotect(uint64_t addr, uint64_t len, int prot) { return call(SYS_mprotect, addr, len, uint64_t(prot)); }
inline int64_t madvise(uint64_t addr, uint64_t len, int advice) {
  return call(SYS_madvise, addr, len, uint64_t(advice));
}
inline int64_t mremap(uint64_t addr, uint64_t old_len, uint64_t new_len, int flags, uint64_t to) {
  return call(SYS_mremap, addr, old_len, new_len, uint64_t(flags), to);
}

/// True when the host maps every page of the range. MS_ASYNC has been a pure walk over the VMAs since Linux 2.6.19.
inline bool mapped(uint64_t addr, uint64_t len) { return call(SYS_msync, addr, len, MS_ASYNC) == 0; }

/// Rights of the host mapping. On x86 whatever is mapped for writing or execution is readable, but the kernel refuses
/// the device pages of a mapping without PROT_READ, and gives PROT_EXEC alone a protection key on some CPUs.
inline int prot_of(uint32_t prot) {
  prot &= PROT_READ | PROT_WRITE | PROT_EXEC;
  return int(prot == 0 ? prot : prot | PROT_READ);
}

/// Asks the kernel to bring the page in for reading; 0 or -errno (-EFAULT: it cannot). No signal is raised, no data
/// changes, nobody sleeps or wakes: a futex requeue of zero waiters reads one word.
inline int64_t probe_read(uint64_t addr) {
  uint32_t other = 0;
  const int64_t r = call(SYS_futex, align_down(addr, 4), FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG, 0, 0, word(&other), 0);
  return r >= 0 || r == -EAGAIN ? 0 : r;
}

/// The same for writing: atomically adds 0 to one word (a futex waiter there may, rarely, wake spuriously, as futexes
/// may).
inline int64_t probe_write(uint64_t addr) {
  uint32_t other = 0;
  constexpr uint32_t kAddNothing = FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_LT, 0x800u);
  const int64_t r = call(SYS_futex, word(&other), FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 0, 0, align_down(addr, 4),
                         kAddNothing);
  return r >= 0 ? 0 : r;
}

}  // namespace km::host
