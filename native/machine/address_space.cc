// SPDX-License-Identifier: Apache-2.0
// VMA tree, placement, munmap and mprotect.
#include "native/machine/address_space.h"

#include <algorithm>
#include <bit>

#include "native/machine/address_space_host.h"

namespace km {

using host::align_down;
using host::align_up;
using host::kPage;

namespace {

constexpr uint64_t kTaskSize = 0x7ffffffff000;  // x86-64 user space with 4-level paging

}  // namespace

uint32_t Vma::rights() const {
  const uint32_t bits = prot & (PROT_READ | PROT_WRITE | PROT_EXEC);
  return bits == 0 ? uint32_t{kHidden} : bits | kRead;
}

bool Vma::mergeable(const Vma& next) const {
  return prot == next.prot && shared == next.shared && kind == next.kind && marks == next.marks &&
         mapping == next.mapping;
}

AddressSpace::AddressSpace(Machine& machine)
    : machine_(&machine), window_(machine.window()), mmap_top_(window_.end), guard_end_(window_.end) {
  gap_ceiling_.fill(window_.end);
}

// --- tree ------------------------------------------------------------------------------------------------------------

AddressSpace::Tree::iterator AddressSpace::find(uint64_t addr) {
  auto it = tree_.upper_bound(addr);
  if (it == tree_.begin()) return tree_.end();
  --it;
  return addr < it->second.end ? it : tree_.end();
}

AddressSpace::Tree::iterator AddressSpace::split(uint64_t addr) {
  auto it = tree_.lower_bound(addr);
  if (it != tree_.end() && it->first == addr) return it;
  if (it == tree_.begin()) return it;
  auto before = std::prev(it);
  if (before->second.end <= addr) return it;
  const Vma tail = before->second;
  before->second.end = addr;
  return tree_.emplace_hint(it, addr, tail);
}

void AddressSpace::erase_range(uint64_t lo, uint64_t hi) {
  auto first = split(lo);
  auto last = split(hi);
  if (first != tree_.end() && first->first >= hi) return;
  tree_.erase(first, last);
  note_gap(lo, hi);
}

void AddressSpace::insert(uint64_t lo, const Vma& vma) {
  tree_[lo] = vma;
  merge_around(lo, vma.end);
}

void AddressSpace::merge_around(uint64_t lo, uint64_t hi) {
  auto it = tree_.upper_bound(lo);
  if (it != tree_.begin()) --it;
  if (it != tree_.begin()) --it;
  while (it != tree_.end() && it->first <= hi) {
    auto next = std::next(it);
    if (next == tree_.end()) return;
    if (it->second.end == next->first && it->second.mergeable(next->second)) {
      it->second.end = next->second.end;
      tree_.erase(next);
    } else {
      it = next;
    }
  }
}

void AddressSpace::set_marks(uint64_t lo, uint64_t hi, uint8_t set, uint8_t clear) {
  auto it = split(lo);
  split(hi);
  for (; it != tree_.end() && it->first < hi; ++it) it->second.marks = uint8_t((it->second.marks | set) & ~clear);
  merge_around(lo, hi);
}

bool AddressSpace::is_free(uint64_t lo, uint64_t hi) {
  auto it = tree_.lower_bound(lo);
  if (it != tree_.end() && it->first < hi) return false;
  return it == tree_.begin() || std::prev(it)->second.end <= lo;
}

bool AddressSpace::covered(uint64_t lo, uint64_t hi) {
  for (auto it = find(lo); it != tree_.end(); ++it) {
    if (it->first > lo) return false;
    lo = it->second.end;
    if (lo >= hi) return true;
  }
  return false;
}

bool AddressSpace::is_special(uint64_t lo, uint64_t hi) const {
  return std::any_of(specials_.begin(), specials_.end(), [&](const Special& s) { return s.start < hi && lo < s.end; });
}

bool AddressSpace::is_mapped(uint64_t addr, uint64_t len) {
  std::lock_guard<std::mutex> guard(lock_);
  return inside(addr, len) && (len == 0 || covered(addr, addr + len));
}

void AddressSpace::add_special(uint64_t start, uint64_t len, uint32_t prot, const char* name) {
  std::lock_guard<std::mutex> guard(lock_);
  specials_.push_back({start, start + len, prot, name});
}

AddressSpace::Pieces AddressSpace::pieces_of(uint64_t lo, uint64_t hi) {
  Pieces pieces;
  if (lo >= hi) return pieces;
  auto it = find(lo);
  if (it == tree_.end()) it = tree_.lower_bound(lo);
  for (; it != tree_.end() && it->first < hi; ++it) {
    Vma vma = it->second;
    vma.end = std::min(vma.end, hi);
    pieces.emplace_back(std::max(it->first, lo), vma);
  }
  return pieces;
}

// --- placement -------------------------------------------------------------------------------------------------------

uint64_t AddressSpace::search_down(uint64_t lo, uint64_t hi, uint64_t len, Alignment align, uint64_t* gap_end) {
  auto it = tree_.lower_bound(hi);
  uint64_t ceiling = hi;
  while (ceiling >= lo + len) {
    const uint64_t floor = it == tree_.begin() ? lo : std::max(lo, std::prev(it)->second.end);
    if (ceiling >= floor + len) {
      const uint64_t place = align_down(ceiling - len - align.phase, align.unit) + align.phase;
      if (place >= floor && place + len <= ceiling && !is_special(place, place + len)) {
        *gap_end = ceiling;
        return place;
      }
    }
    if (it == tree_.begin()) break;
    --it;
    ceiling = it->first;
  }
  *gap_end = lo;
  return 0;
}

uint64_t AddressSpace::find_gap(uint64_t len, Alignment align) {
  const auto floor_class = unsigned(std::bit_width(len) - 1);
  const uint64_t from = std::min(mmap_top_, gap_ceiling_[floor_class]);
  uint64_t gap_end = 0;
  const uint64_t place = search_down(window_.start, from, len, align, &gap_end);
  if (align.unit > kPage || !specials_.empty()) return place;  // a gap passed over may still be large enough
  const unsigned ceil_class = std::has_single_bit(len) ? floor_class : floor_class + 1;
  for (unsigned k = ceil_class; k < gap_ceiling_.size(); ++k) gap_ceiling_[k] = std::min(gap_ceiling_[k], gap_end);
  return place;
}

void AddressSpace::note_gap(uint64_t lo, uint64_t hi) {
  auto next = tree_.lower_bound(hi);
  const uint64_t end = next == tree_.end() ? window_.end : next->first;
  const uint64_t start = next == tree_.begin() ? window_.start : std::prev(next)->second.end;
  if (end <= start || lo >= hi) return;
  const auto top = unsigned(std::bit_width(end - start));
  for (unsigned k = 0; k < top; ++k) gap_ceiling_[k] = std::max(gap_ceiling_[k], end);
}

uint64_t AddressSpace::choose(uint64_t hint, uint64_t len, Alignment align, bool low) {
  constexpr uint64_t kLowStart = 1ULL << 30, kLowEnd = 2ULL << 30;  // where Linux puts MAP_32BIT
  hint = align_down(hint, kPage);
  if (hint != 0 && inside(hint, len)) {
    const uint64_t end = hint + len;
    const bool in_guard = hint < guard_end_ && end > mmap_top_;
    if (!in_guard && (!low || end <= kLowEnd) && is_free(hint, end) && !is_special(hint, end)) return hint;
  }
  uint64_t gap_end = 0;
  if (!low) {
    const uint64_t place = find_gap(len, align);
    return place != 0 || align.required ? place : find_gap(len, {});
  }
  if (len > kLowEnd - kLowStart) return 0;
  return search_down(std::max(kLowStart, window_.start), std::min(kLowEnd, mmap_top_), len, align, &gap_end);
}

// --- guest view ------------------------------------------------------------------------------------------------------

int AddressSpace::hide(uint64_t lo, uint64_t hi) {
  uint64_t from = 0, to = 0;
  for (const auto& [start, vma] : pieces_of(lo, hi)) {
    if (vma.access() == kHidden) continue;
    if (start == to) {
      to = vma.end;
      continue;
    }
    if (to != 0)
      if (int r = machine_->protect(from, to - from, kHidden); r < 0) return r;
    from = start;
    to = vma.end;
  }
  return to == 0 ? 0 : machine_->protect(from, to - from, kHidden);
}

int AddressSpace::show(uint64_t lo, uint64_t hi) {
  uint64_t from = 0, to = 0;
  uint32_t access = kHidden;
  int result = 0;
  auto flush = [&] {
    if (to == 0 || access == kHidden) return;
    if (int r = machine_->protect(from, to - from, access); r < 0 && result == 0) result = r;
  };
  for (const auto& [start, vma] : pieces_of(lo, hi)) {
    if (start == to && vma.eager_access() == access) {
      to = vma.end;
      continue;
    }
    flush();
    from = start;
    to = vma.end;
    access = vma.eager_access();
  }
  flush();
  return result;
}

void AddressSpace::forget_unmapped(uint64_t lo, uint64_t hi) {
  for (const auto& [start, vma] : pieces_of(lo, hi)) {
    if (host::mapped(start, vma.end - start)) continue;
    for (uint64_t page = start; page < vma.end; page += kPage)
      if (!host::mapped(page, kPage)) erase_range(page, page + kPage);
  }
}

// After a host call over [lo, hi) failed: the kernel may have unmapped old mappings before it gave up.
void AddressSpace::restore(uint64_t lo, uint64_t hi) {
  forget_unmapped(lo, hi);
  show(lo, hi);
}

// --- munmap, mprotect ------------------------------------------------------------------------------------------------

int64_t AddressSpace::unmap(uint64_t lo, uint64_t hi) {
  if (is_free(lo, hi)) return 0;
  if (int r = hide(lo, hi); r < 0) {
    show(lo, hi);
    return r;
  }
  if (int64_t r = host::munmap(lo, hi - lo); r < 0) {
    restore(lo, hi);
    return r;
  }
  erase_range(lo, hi);
  prefaulted_ -= std::min(prefaulted_, hi - lo);
  return 0;
}

int64_t AddressSpace::munmap(uint64_t addr, uint64_t len) {
  if (addr % kPage != 0 || addr > kTaskSize || len > kTaskSize - addr) return -EINVAL;
  len = align_up(len, kPage);
  if (len == 0) return -EINVAL;
  std::lock_guard<std::mutex> guard(lock_);
  const uint64_t lo = std::max(addr, window_.start), hi = std::min(addr + len, window_.end);
  return lo < hi ? unmap(lo, hi) : 0;
}

int64_t AddressSpace::protect_piece(uint64_t lo, uint64_t hi, int prot) {
  auto it = find(lo);
  const Vma old = it->second;
  Vma now = old;
  now.prot = uint32_t(prot);
  const uint32_t before = old.access(), after = now.access(), kept = before & after;
  const bool lazy = old.marks & kLazy;
  if (kept != before) {
    if (int r = machine_->protect(lo, hi - lo, lazy ? uint32_t{kHidden} : kept); r < 0) return r;
  }
  if (int64_t r = host::mprotect(lo, hi - lo, host::prot_of(now.prot)); r < 0) {
    if (kept != before) machine_->protect(lo, hi - lo, old.eager_access());
    return r;
  }
  if (old.prot != now.prot) {
    it = split(lo);
    split(hi);
    it->second.prot = now.prot;
    merge_around(lo, hi);
  }
  if ((now.prot & PROT_WRITE) && !(old.prot & PROT_WRITE)) {
    advise_huge(lo);
    prefault(lo, hi, false);
  }
  // No memory for page tables: the payload's fault comes to page_fault(), which tries again.
  if (!lazy && after != kept) machine_->protect(lo, hi - lo, after);
  return 0;
}

int64_t AddressSpace::mprotect(uint64_t addr, uint64_t len, int prot) {
  const int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
  prot &= ~(PROT_GROWSDOWN | PROT_GROWSUP);
  if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) || addr % kPage != 0) return -EINVAL;
  if (len == 0) return 0;
  len = align_up(len, kPage);
  if (len == 0 || addr + len <= addr) return -ENOMEM;
  constexpr int kProtSem = 8;
  if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | kProtSem)) return -EINVAL;
  prot &= ~kProtSem;

  std::lock_guard<std::mutex> guard(lock_);
  const uint64_t end = addr + len;
  if (grows == PROT_GROWSDOWN) {  // from the beginning of the stack, which may be above addr
    auto first = find(addr);
    if (first == tree_.end()) first = tree_.lower_bound(addr);
    if (first == tree_.end() || first->first >= end) return -ENOMEM;
    if (first->second.kind != VmaKind::kStack) return -EINVAL;
    addr = first->first;
  }
  if (find(addr) == tree_.end()) return -ENOMEM;
  if (grows == PROT_GROWSUP) return -EINVAL;
  while (addr < end) {  // as Linux: what lies before a hole or a refusal is changed
    auto it = find(addr);
    if (it == tree_.end()) return -ENOMEM;
    const uint64_t stop = std::min(end, it->second.end);
    if (int64_t r = protect_piece(addr, stop, prot); r < 0) return r;
    addr = stop;
  }
  return 0;
}

}  // namespace km
