// SPDX-License-Identifier: Apache-2.0
// madvise, msync, mincore: the host does them on the same range; the part of a range outside the window counts as not
// mapped.
#include <algorithm>

#include "native/machine/address_space.h"
#include "native/machine/address_space_host.h"

namespace km {

using host::align_up;
using host::kPage;

namespace {

/// What an advice changes besides the host's mapping.
struct AdviceRule {
  int advice;
  uint8_t set, clear;  ///< marks
};

constexpr AdviceRule kAdvices[] = {
    {MADV_NORMAL, 0, 0},
    {MADV_RANDOM, 0, 0},
    {MADV_SEQUENTIAL, 0, 0},
    {MADV_WILLNEED, 0, 0},
    {MADV_DONTNEED, 0, 0},
    {MADV_FREE, 0, 0},
    {MADV_REMOVE, 0, 0},
    {MADV_DONTFORK, kDontFork, 0},
    {MADV_DOFORK, 0, kDontFork},
    {MADV_MERGEABLE, 0, 0},
    {MADV_UNMERGEABLE, 0, 0},
    {MADV_HUGEPAGE, 0, kNoHuge},
    {MADV_NOHUGEPAGE, kNoHuge, 0},
    {MADV_DONTDUMP, 0, 0},
    {MADV_DODUMP, 0, 0},
    {MADV_WIPEONFORK, 0, 0},
    {MADV_KEEPONFORK, 0, 0},
    {MADV_COLD, 0, 0},
    {MADV_PAGEOUT, 0, 0},
    {MADV_POPULATE_READ, 0, 0},
    {MADV_POPULATE_WRITE, 0, 0},
    {MADV_DONTNEED_LOCKED, 0, 0},
    {MADV_COLLAPSE, 0, 0},
    {MADV_GUARD_INSTALL, kGuard, 0},
    {MADV_GUARD_REMOVE, 0, kGuard},
};

}  // namespace

int64_t AddressSpace::madvise(uint64_t addr, uint64_t len, int advice) {
  // These take physical memory away from the whole host.
  if (advice == MADV_HWPOISON || advice == MADV_SOFT_OFFLINE) return -EPERM;
  const auto* rule = std::find_if(std::begin(kAdvices), std::end(kAdvices),
                                  [&](const AdviceRule& r) { return r.advice == advice; });
  if (rule == std::end(kAdvices)) return -EINVAL;
  if (int64_t r = host::madvise(0, 0, advice); r < 0) return r;  // the host is too old for it
  if (addr % kPage != 0) return -EINVAL;
  const uint64_t rounded = align_up(len, kPage);
  if ((len != 0 && rounded == 0) || addr + rounded < addr) return -EINVAL;
  if (rounded == 0) return 0;

  std::lock_guard<std::mutex> guard(lock_);
  const uint64_t lo = std::max(addr, window_.start), hi = std::min(addr + rounded, window_.end);
  if (lo >= hi) return -ENOMEM;
  if (rule->set & kGuard) {
    if (int r = hide(lo, hi); r < 0) {
      show(lo, hi);
      return r;
    }
  }
  int64_t r = host::madvise(lo, hi - lo, advice);
  if ((rule->set | rule->clear) != 0 && (r >= 0 || r == -ENOMEM)) {  // ENOMEM: done except for holes
    for (const auto& [start, vma] : pieces_of(lo, hi)) set_marks(start, vma.end, rule->set, rule->clear);
  }
  if ((rule->set | rule->clear) & kGuard) show(lo, hi);
  if (r >= 0 && hi - lo != rounded) r = -ENOMEM;
  return r;
}

int64_t AddressSpace::msync(uint64_t addr, uint64_t len, int flags) {
  if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) || (flags & MS_ASYNC && flags & MS_SYNC)) return -EINVAL;
  if (addr % kPage != 0) return -EINVAL;
  const uint64_t rounded = align_up(len, kPage);
  if (addr + rounded < addr) return -ENOMEM;
  if (rounded == 0) return 0;
  const uint64_t lo = std::max(addr, window_.start), hi = std::min(addr + rounded, window_.end);
  if (lo >= hi) return -ENOMEM;
  // Not under the lock: it may wait for a disk, and it changes no mapping.
  const int64_t r = host::call(SYS_msync, lo, hi - lo, uint64_t(flags));
  return r >= 0 && hi - lo != rounded ? -ENOMEM : r;
}

int64_t AddressSpace::mincore(uint64_t addr, uint64_t len, uint64_t vec) {
  if (addr % kPage != 0) return -EINVAL;
  const uint64_t pages = len / kPage + (len % kPage != 0);
  if (len > window_.end || addr > window_.end - len) return -ENOMEM;
  if (!in_window(vec, pages)) return -EFAULT;
  if (pages == 0) return 0;
  if (!inside(addr, pages * kPage)) return -ENOMEM;
  return host::call(SYS_mincore, addr, len, vec);
}

}  // namespace km
