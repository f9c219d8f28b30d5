// SPDX-License-Identifier: Apache-2.0
// Which parts of the window the device knows as memory. Slots cost time per byte (reverse maps are allocated with
// them, 0.6 ms per GiB under shadow paging), so they are added where memory is mapped and grow geometrically.
#pragma once

#include <cstdint>
#include <map>

#include "native/driver/driver.h"
#include "native/driver/kvm_tables.h"

namespace km::kvm {

class SlotMap {
 public:
  void init(SlotSink& sink, Window window) {
    sink_ = &sink;
    window_ = window;
  }
  /// Makes sure that slots cover [from, to). Returns 0 or -errno.
  int ensure(uint64_t from, uint64_t to);
  bool covers(uint64_t addr) const;
  /// End of the first slot above `addr`, or of the hole `addr` is in: the next place where coverage changes.
  uint64_t boundary(uint64_t addr) const;

 private:
  int fill_hole(uint64_t hole_start, uint64_t hole_end, uint64_t from, uint64_t to);
  SlotSink* sink_ = nullptr;
  Window window_;
  std::map<uint64_t, uint64_t> slots_;  // start -> end, disjoint, neighbours not merged
  uint64_t total_ = 0;
};

}  // namespace km::kvm
