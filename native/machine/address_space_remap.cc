// SPDX-License-Identifier: Apache-2.0
// mremap. The host does the work; we choose the place (its own choice would lie outside the window) and keep the
// tree and the guest in step.
#include <algorithm>

#include "native/machine/address_space.h"
#include "native/machine/address_space_host.h"

namespace km {

using host::align_down;
using host::align_up;
using host::kHuge;
using host::kPage;

// Same size, smaller, or larger where it is. -ENOMEM: it cannot grow here.
int64_t AddressSpace::resize_in_place(uint64_t addr, uint64_t old_len, uint64_t new_len) {
  if (new_len <= old_len) {
    const uint64_t lo = addr + new_len, hi = addr + old_len;
    if (int r = hide(lo, hi); r < 0) {
      show(lo, hi);
      return r;
    }
    const int64_t r = host::mremap(addr, old_len, new_len, 0, 0);
    if (r < 0)
      restore(lo, hi);
    else
      erase_range(lo, hi);
    return r;
  }
  if (old_len == 0) return host::mremap(addr, 0, new_len, 0, 0);  // never grows: the kernel only says why not
  const uint64_t from = addr + old_len, to = addr + new_len;
  if (!covered(addr, from)) return -EFAULT;
  if (!inside(addr, new_len) || is_special(from, to)) return -ENOMEM;
  const bool free = is_free(from, to);  // if not, the host says why it refuses
  if (free && from < guard_end_ && to > mmap_top_) return -ENOMEM;
  const int64_t r = host::mremap(addr, old_len, new_len, 0, 0);
  if (r < 0) return r;
  Vma grown = find(from - 1)->second;
  grown.end = to;
  grown.marks &= uint8_t(~kGuard);
  insert(from, grown);
  advise_huge(from);
  show(from, to);
  return r;
}

// A failed MREMAP_FIXED may have unmapped the target and the tail of a shrinking source, and (since Linux 6.17, which
// moves several VMAs in one call) moved some of the source. Ask the host page by page what is where.
void AddressSpace::recover_move(uint64_t addr, uint64_t old_len, uint64_t new_len, uint64_t to,
                                const Pieces& pieces) {
  forget_unmapped(to, to + new_len);
  forget_unmapped(addr, addr + old_len);
  for (const auto& [start, vma] : pieces) {
    for (uint64_t page = start; page < vma.end; page += kPage) {
      if (find(page) != tree_.end()) {
        page = find(page)->second.end - kPage;
        continue;
      }
      const uint64_t target = to + (page - addr);
      if (page - addr >= new_len || !is_free(target, target + kPage) || !host::mapped(target, kPage)) continue;
      Vma moved = vma;
      moved.end = target + kPage;
      insert(target, moved);
    }
  }
  show(to, to + new_len);
  show(addr, addr + old_len);
}

namespace {

// MREMAP_DONTUNMAP alone refuses to cross VMAs, with MREMAP_FIXED it may not (Linux 6.17): so do not add that flag, but
// pass `to` as the hint it then is. The place is free, so the kernel takes it.
int64_t host_move(uint64_t addr, uint64_t old_len, uint64_t new_len, int flags, uint64_t to) {
  if (!(flags & MREMAP_DONTUNMAP)) flags |= MREMAP_FIXED;
  const int64_t r = host::mremap(addr, old_len, new_len, flags | MREMAP_MAYMOVE, to);
  if (r < 0 || uint64_t(r) == to) return r;
  return host::mremap(uint64_t(r), new_len, new_len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
}

}  // namespace

int64_t AddressSpace::move(uint64_t addr, uint64_t old_len, uint64_t new_len, int flags, uint64_t to) {
  const bool keeps_source = old_len == 0 || (flags & MREMAP_DONTUNMAP);
  auto pieces = pieces_of(addr, addr + std::max(old_len, kPage));
  int r = hide(to, to + new_len);
  if (r == 0 && !keeps_source) r = hide(addr, addr + old_len);
  if (r < 0) {
    show(to, to + new_len);
    show(addr, addr + old_len);
    return r;
  }
  const int64_t result = host_move(addr, old_len, new_len, flags, to);
  if (result < 0) {
    recover_move(addr, old_len, new_len, to, pieces);
    return result;
  }
  // Several VMAs moved in one call (Linux 6.17) each take their own place only: holes between them unmap nothing.
  if (new_len != old_len) erase_range(to, to + new_len);
  if (!keeps_source) erase_range(addr, addr + old_len);
  if (old_len != 0 && keeps_source) {
    set_marks(addr, addr + old_len, 0, kGuard);  // the markers moved away
    show(addr, addr + old_len);
  }
  for (auto& [start, vma] : pieces) {
    const uint64_t offset = start - addr;
    if (offset >= new_len) break;
    vma.end = std::min(vma.end - addr, new_len) + to;
    if (vma.kind == VmaKind::kHeap || vma.kind == VmaKind::kStack) vma.kind = VmaKind::kAnon;
    if (old_len == 0) vma.mapping = ++next_mapping_;
    erase_range(to + offset, vma.end);
    insert(to + offset, vma);
  }
  if (new_len > old_len) {  // one VMA, then
    Vma grown = pieces.back().second;
    const uint64_t from = grown.end;
    grown.end = to + new_len;
    grown.marks &= uint8_t(~kGuard);
    if (from < grown.end) insert(from, grown);
  }
  advise_huge(to);
  show(to, to + new_len);
  return result;
}

int64_t AddressSpace::mremap(uint64_t addr, uint64_t old_len, uint64_t new_len, int flags, uint64_t new_addr) {
  constexpr int kKnown = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
  const bool may_move = flags & MREMAP_MAYMOVE, fixed = flags & MREMAP_FIXED, keep = flags & MREMAP_DONTUNMAP;
  if ((flags & ~kKnown) || (fixed && !may_move) || addr % kPage != 0) return -EINVAL;
  if (keep && (!may_move || old_len != new_len)) return -EINVAL;
  old_len = align_up(old_len, kPage);
  new_len = align_up(new_len, kPage);
  if (new_len == 0) return -EINVAL;

  std::lock_guard<std::mutex> guard(lock_);
  if (fixed || keep) {
    if (new_addr % kPage != 0 || new_addr + new_len < new_addr) return -EINVAL;
    if (addr + old_len > new_addr && new_addr + new_len > addr) return -EINVAL;
  }
  if (fixed) {
    if (!inside(new_addr, new_len)) return -ENOMEM;
    if (is_special(new_addr, new_addr + new_len)) return -EPERM;
  }
  if (!inside(addr, std::max(old_len, kPage)) || find(addr) == tree_.end()) return -EFAULT;
  const bool grows = new_len > old_len;
  // Neighbours we advised differently are one VMA to the payload: make them one for the host as well.
  if (grows || fixed || keep) advise_huge(addr);
  if (fixed) return move(addr, old_len, new_len, flags, new_addr);

  if (!keep) {
    const int64_t r = resize_in_place(addr, old_len, new_len);
    if (r != -ENOMEM || !may_move || !grows) return r;
  }
  auto it = find(addr);
  const bool thp = !it->second.backed() && new_len >= kHuge;
  const uint64_t to = choose(keep ? new_addr : 0, new_len, {thp ? kHuge : kPage, 0, false}, false);
  if (to == 0) return -ENOMEM;
  return move(addr, old_len, new_len, flags, to);
}

int64_t AddressSpace::remap_file_pages(const uint64_t args[5]) {
  const uint64_t addr = align_down(args[0], kPage), len = align_down(args[1], kPage);
  std::lock_guard<std::mutex> guard(lock_);
  // Outside the window the monitor lives; the payload has no mapping there.
  if (len == 0 || !inside(addr, len)) return -EINVAL;
  const uint64_t end = addr + len;
  for (uint64_t at = addr; at < end;) {
    auto it = find(at);
    if (it == tree_.end() || !it->second.shared) return -EINVAL;
    at = it->second.end;
  }
  split(addr);
  split(end);
  // The new pages may lie behind the end of the file: each is shown when it is touched.
  for (auto it = find(addr); it != tree_.end() && it->first < end; ++it) it->second.marks |= kLazy;
  if (int r = hide(addr, end); r < 0) return r;
  return host::call(SYS_remap_file_pages, addr, len, args[2], args[3], args[4]);
}

}  // namespace km
