// SPDX-License-Identifier: Apache-2.0
// The payload's memory: Linux's mmap family over the identity window (guest virtual == monitor virtual address).
//
// Three views of one range are kept in step: the VMA tree here (what the payload asked for), the host mapping at
// the same address (what the kernel enforces on forwarded system calls), and the guest's translation in the
// driver's Machine. Rights shrink guest first, then host; they grow host first, then guest (see driver.h).
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "native/driver/driver.h"

namespace km {

enum class VmaKind : uint8_t { kAnon, kFile, kHeap, kStack };

struct Vma {
  uint64_t end = 0;
  uint32_t prot = 0;    ///< PROT_* as the payload set it
  bool shared = false;
  VmaKind kind = VmaKind::kAnon;
};

/// What to do about a page fault the payload took.
struct FaultVerdict {
  int signo = 0;        ///< 0: resolved, run on
  int code = 0;         ///< SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR
  uint64_t address = 0; ///< si_addr
};

class AddressSpace {
 public:
  explicit AddressSpace(Machine& machine);

  // The system calls, with Linux's semantics (man 2 of each); return the result or -errno.
  int64_t mmap(uint64_t addr, uint64_t len, int prot, int flags, int fd, uint64_t offset);
  int64_t munmap(uint64_t addr, uint64_t len);
  int64_t mprotect(uint64_t addr, uint64_t len, int prot);
  int64_t mremap(uint64_t old_addr, uint64_t old_len, uint64_t new_len, int flags, uint64_t new_addr);
  int64_t madvise(uint64_t addr, uint64_t len, int advice);
  int64_t msync(uint64_t addr, uint64_t len, int flags);
  int64_t mincore(uint64_t addr, uint64_t len, uint64_t vec);
  int64_t brk(uint64_t addr);

  /// Sets where the heap begins (page-aligned up by Linux rules); called once by the loader.
  void set_brk_start(uint64_t addr);

  /// Maps the main thread's stack (RLIMIT_STACK bytes, guard below) at the top of the window.
  /// Returns the address behind its last byte or -errno.
  int64_t map_stack(uint64_t bytes);

  /// True when [addr, addr+len) lies inside the window; the only check a forwarded pointer needs.
  bool in_window(uint64_t addr, uint64_t len) const {
    return len <= window_.end && addr <= window_.end - len;
  }
  Window window() const { return window_; }

  /// Decides a #PF (error_code: SDM vol. 3, 4.7) and repairs it when the VMA allows the access.
  FaultVerdict page_fault(uint64_t addr, uint32_t error_code);

  /// KVM could not get the page behind a present guest mapping (file truncated, memory poisoned). Hides every file
  /// mapping from the guest so that the access comes back as an exact #PF. `page` is a hint or 0.
  FaultVerdict memory_fault(uint64_t page);

  /// Moves the whole space onto another machine (child after fork, same host memory). Returns 0 or -errno.
  int attach(Machine& machine);

  /// Serializes fork against changes of the space.
  std::mutex& lock() { return lock_; }

  /// Text of /proc/self/maps as the payload must see it (man 5 proc).
  std::string maps_text();

  /// Calls fn(start, vma) for every VMA in address order, under the lock.
  template <typename Fn>
  void for_each(Fn fn) {
    std::lock_guard<std::mutex> guard(lock_);
    for (const auto& [start, vma] : tree_) fn(start, vma);
  }

 private:
  Machine* machine_;
  Window window_;
  std::mutex lock_;
  std::map<uint64_t, Vma> tree_;
  uint64_t brk_start_ = 0, brk_ = 0;
};

}  // namespace km
