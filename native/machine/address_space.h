// SPDX-License-Identifier: Apache-2.0
// The payload's memory: Linux's mmap family over the identity window (guest virtual == monitor virtual address).
//
// Three views of one range are kept in step: the VMA tree here (what the payload asked for), the host mapping at
// the same address (what the kernel enforces on forwarded system calls), and the guest's translation in the
// driver's Machine. Rights shrink guest first, then host; they grow host first, then guest (see driver.h).
//
// Split over: address_space.cc (tree, placement, munmap, mprotect), address_space_map.cc (mmap, brk, stack),
// address_space_remap.cc, address_space_advise.cc (madvise, msync, mincore), address_space_fault.cc (page faults,
// fork), address_space_text.cc (/proc/self/maps).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "native/driver/driver.h"

namespace km {

enum class VmaKind : uint8_t { kAnon, kFile, kHeap, kStack };

/// Bits of Vma::marks.
enum VmaMark : uint8_t {
  kLazy = 1,       ///< pages may be behind the end of the file: each becomes visible only after a probed fault
  kNoHuge = 2,     ///< MAP_STACK or MADV_NOHUGEPAGE: we do not ask for huge pages
  kGuard = 4,      ///< MADV_GUARD_INSTALL: mapped, but every access is SIGSEGV
  kDontFork = 8,   ///< MADV_DONTFORK: not there in a child
};

struct Vma {
  uint64_t end = 0;
  uint32_t prot = 0;    ///< PROT_* as the payload set it
  bool shared = false;
  VmaKind kind = VmaKind::kAnon;
  uint8_t marks = 0;    ///< VmaMark
  uint32_t mapping = 0; ///< number of the mmap call for file and shared mappings (these never merge with others), else 0

  /// Rights `prot` means on x86: PROT_WRITE and PROT_EXEC are readable too.
  uint32_t rights() const;
  /// Rights the payload has: those, but none in a guard region.
  uint32_t access() const { return marks & kGuard ? uint32_t{kHidden} : rights(); }
  /// Rights given before the first fault.
  uint32_t eager_access() const { return marks & kLazy ? uint32_t{kHidden} : access(); }
  /// Memory the host may fail to provide later (truncated file): SIGBUS is possible.
  bool backed() const { return kind == VmaKind::kFile || shared; }
  bool mergeable(const Vma& next) const;
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
  /// `args` as the call has them: addr, size, prot (0), pgoff, flags (man 2 remap_file_pages).
  int64_t remap_file_pages(const uint64_t args[5]);
  int64_t madvise(uint64_t addr, uint64_t len, int advice);
  int64_t msync(uint64_t addr, uint64_t len, int flags);
  int64_t mincore(uint64_t addr, uint64_t len, uint64_t vec);
  int64_t brk(uint64_t addr);

  /// Sets where the heap begins (page-aligned up by Linux rules); called once by the loader.
  void set_brk_start(uint64_t addr);

  /// Maps the main thread's stack at the top of the window, with a gap below it that placement never hands out.
  /// `bytes` 0: RLIMIT_STACK (64 MiB when unlimited, at most 1 GiB). Returns the address behind its last byte or
  /// -errno.
  int64_t map_stack(uint64_t bytes, bool executable = false);

  /// Announces a range the driver shows to the payload by map_private (vvar, vdso): listed by maps_text() as `name`,
  /// never handed out by placement, refused to MAP_FIXED (EPERM) and ignored by munmap/mprotect.
  void add_special(uint64_t start, uint64_t len, uint32_t prot, const char* name);

  /// True when [addr, addr+len) lies inside the window; the only check a forwarded pointer needs.
  bool in_window(uint64_t addr, uint64_t len) const {
    return len <= window_.end && addr <= window_.end - len;
  }
  Window window() const { return window_; }

  /// True when every page of [addr, addr+len) is mapped (with whatever rights).
  bool is_mapped(uint64_t addr, uint64_t len);

  /// Decides a #PF (error_code: SDM vol. 3, 4.7) and repairs it when the VMA allows the access.
  FaultVerdict page_fault(uint64_t addr, uint32_t error_code);

  /// KVM could not get the page behind a present guest mapping (file truncated, memory poisoned). Hides `page`, or
  /// when it is 0 every file mapping, from the guest so that the access comes back as an exact #PF.
  FaultVerdict memory_fault(uint64_t page);

  /// Moves the whole space onto another machine (child after fork, same host memory; the lock must be free).
  /// Returns 0 or -errno.
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
  using Tree = std::map<uint64_t, Vma>;
  using Pieces = std::vector<std::pair<uint64_t, Vma>>;
  struct Special {
    uint64_t start, end;
    uint32_t prot;
    std::string name;
  };
  /// One mapping about to be made at a place already chosen.
  struct Request {
    uint64_t start, end;
    int prot, flags, fd;
    uint64_t offset;
    uint64_t file_end;  ///< address of the first page wholly behind the end of the file; UINT64_MAX: not known
    Vma vma;
  };

  // Tree (address_space.cc). The callers hold lock_.
  Tree::iterator find(uint64_t addr);            ///< VMA that contains addr, or end()
  Tree::iterator split(uint64_t addr);           ///< cuts at addr; first VMA at or behind it
  Pieces pieces_of(uint64_t lo, uint64_t hi);    ///< copies of the VMAs in the range, clipped to it
  void erase_range(uint64_t lo, uint64_t hi);
  void insert(uint64_t lo, const Vma& vma);      ///< range must be free; merges with equal neighbours
  void merge_around(uint64_t lo, uint64_t hi);
  void set_marks(uint64_t lo, uint64_t hi, uint8_t set, uint8_t clear);
  bool is_free(uint64_t lo, uint64_t hi);
  bool covered(uint64_t lo, uint64_t hi);
  bool is_special(uint64_t lo, uint64_t hi) const;
  bool inside(uint64_t addr, uint64_t len) const {
    return addr >= window_.start && addr <= window_.end && len <= window_.end - addr;
  }

  // Placement.
  struct Alignment {
    uint64_t unit = 4096, phase = 0;  ///< address % unit == phase
    bool required = false;            ///< else: nice to have
  };
  uint64_t choose(uint64_t hint, uint64_t len, Alignment align, bool low);   ///< 0: no room
  uint64_t find_gap(uint64_t len, Alignment align);
  uint64_t search_down(uint64_t lo, uint64_t hi, uint64_t len, Alignment align, uint64_t* gap_end);
  void note_gap(uint64_t lo, uint64_t hi);

  // Guest view.
  int hide(uint64_t lo, uint64_t hi);
  int show(uint64_t lo, uint64_t hi);
  void forget_unmapped(uint64_t lo, uint64_t hi);
  void restore(uint64_t lo, uint64_t hi);
  void zap_host(uint64_t lo, uint64_t hi, const Vma& vma);

  int64_t unmap(uint64_t lo, uint64_t hi);
  int64_t protect_piece(uint64_t lo, uint64_t hi, int prot);
  int64_t map_at(const Request& request);
  void advise_huge(uint64_t addr);
  void prefault(uint64_t lo, uint64_t hi, bool program);
  int64_t brk_grow(uint64_t from, uint64_t to, uint64_t wanted);
  int64_t resize_in_place(uint64_t addr, uint64_t old_len, uint64_t new_len);
  int64_t move(uint64_t addr, uint64_t old_len, uint64_t new_len, int flags, uint64_t to);
  void recover_move(uint64_t addr, uint64_t old_len, uint64_t new_len, uint64_t to, const Pieces& pieces);

  Machine* machine_;
  Window window_;
  std::mutex lock_;
  Tree tree_;
  std::vector<Special> specials_;
  uint64_t brk_start_ = 0, brk_ = 0;
  uint64_t mmap_top_ = 0;               ///< placement stays below
  uint64_t guard_end_ = 0;              ///< [mmap_top_, guard_end_): the gap below the stack
  uint32_t next_mapping_ = 0;
  uint64_t prefaulted_ = 0;             ///< bytes the host was asked for ahead of use (estimate)
  /// No gap of at least 2^k bytes ends above gap_ceiling_[k]: makes top-down first fit cheap without a gap tree.
  std::array<uint64_t, 64> gap_ceiling_{};
  uint64_t last_filled_ = 0;            ///< page most recently repaired by page_fault()
  unsigned memory_faults_ = 0;          ///< in quick succession
  int64_t last_memory_fault_ = 0;       ///< ns, CLOCK_MONOTONIC
};

}  // namespace km
