// SPDX-License-Identifier: Apache-2.0
// Classic BPF for seccomp (seccomp(2), Documentation/networking/filter.rst), put together from pieces that each end in
// a verdict.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <span>
#include <vector>

namespace km::confine {

using Code = std::vector<sock_filter>;

/// From `first` up to the next range's first: do `code`, which the caller keeps.
struct Range {
  uint32_t first;
  const Code* code;
};

/// One verdict: SECCOMP_RET_* with its data.
Code verdict(uint32_t action);

/// Loads a 32-bit word of struct seccomp_data, then `rest`.
Code load(uint32_t offset, const Code& rest);

/// `then` when the loaded word equals `value`, else `otherwise`.
Code if_equal(uint32_t value, const Code& then, const Code& otherwise);

/// `then` when the loaded word has a bit of `bits`, else `otherwise`.
Code if_any_bit(uint32_t bits, const Code& then, const Code& otherwise);

/// A binary search for the loaded word. `ranges` are in order and the first starts at 0.
Code search(std::span<const Range> ranges);

/// `then` when the loaded word is one of `values`, else `otherwise`.
Code if_one_of(std::vector<uint32_t> values, const Code& then, const Code& otherwise);

/// Adds a range, or lengthens the last one when it has the same code.
void add_range(std::vector<Range>* ranges, uint32_t first, const Code* code);

}  // namespace km::confine
