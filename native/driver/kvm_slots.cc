// SPDX-License-Identifier: Apache-2.0
#include "native/driver/kvm_slots.h"

#include <algorithm>

#include "native/driver/kvm_layout.h"

namespace km::kvm {
namespace {
constexpr uint64_t kMinSlot = 4 * kLarge;
}

bool SlotMap::covers(uint64_t addr) const {
  auto next = slots_.upper_bound(addr);
  return next != slots_.begin() && std::prev(next)->second > addr;
}

uint64_t SlotMap::boundary(uint64_t addr) const {
  auto next = slots_.upper_bound(addr);
  if (next != slots_.begin() && std::prev(next)->second > addr) return std::prev(next)->second;
  return next == slots_.end() ? window_.end : next->first;
}

int SlotMap::ensure(uint64_t from, uint64_t to) {
  for (uint64_t at = from; at < to;) {
    if (covers(at)) {
      at = boundary(at);
      continue;
    }
    auto next = slots_.upper_bound(at);
    uint64_t hole_end = next == slots_.end() ? window_.end : next->first;
    uint64_t hole_start = next == slots_.begin() ? window_.start : std::prev(next)->second;
    if (int rc = fill_hole(hole_start, hole_end, at, std::min(to, hole_end)); rc != 0) return rc;
  }
  return 0;
}

/// Adds one slot inside the hole that covers [from, to), larger when that saves slots later: half of what there is
/// already, at most 1 GiB. It grows away from the neighbour it touches (mmap areas grow down, heaps up).
int SlotMap::fill_hole(uint64_t hole_start, uint64_t hole_end, uint64_t from, uint64_t to) {
  uint64_t start = std::max(hole_start, from & ~(kLarge - 1));
  uint64_t end = std::min(hole_end, (to + kLarge - 1) & ~(kLarge - 1));
  uint64_t wanted = std::max(kMinSlot, std::min(total_ / 2, kGiant) & ~(kLarge - 1));
  if (end - start < wanted) {
    bool down = end == hole_end;
    if (down) {
      start = end - hole_start > wanted ? end - wanted : hole_start;
    } else {
      end = hole_end - start > wanted ? start + wanted : hole_end;
    }
  }
  // Identity: guest-physical address == host address. The host range may hold anything or nothing; KVM follows the
  // host's page tables through MMU notifiers.
  if (int rc = sink_->add_slot(start, end - start, reinterpret_cast<void*>(start)); rc != 0) return rc;
  slots_[start] = end;
  total_ += end - start;
  return 0;
}

}  // namespace km::kvm
