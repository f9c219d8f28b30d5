// SPDX-License-Identifier: Apache-2.0
#include "native/confine/program.h"

#include <algorithm>

namespace km::confine {
namespace {

/// `then` when the comparison holds, else `otherwise`. A jump's own offset has 8 bits.
Code branch(uint16_t comparison, uint32_t value, const Code& then, const Code& otherwise) {
  Code code;
  const auto jump = static_cast<uint16_t>(BPF_JMP | comparison | BPF_K);
  if (otherwise.size() <= UINT8_MAX) {
    code.push_back({jump, static_cast<uint8_t>(otherwise.size()), 0, value});
  } else {
    code.push_back({jump, 0, 1, value});
    code.push_back({BPF_JMP | BPF_JA, 0, 0, static_cast<uint32_t>(otherwise.size())});
  }
  code.insert(code.end(), otherwise.begin(), otherwise.end());
  code.insert(code.end(), then.begin(), then.end());
  return code;
}

}  // namespace

Code verdict(uint32_t action) { return {{BPF_RET | BPF_K, 0, 0, action}}; }

Code load(uint32_t offset, const Code& rest) {
  Code code{{BPF_LD | BPF_W | BPF_ABS, 0, 0, offset}};
  code.insert(code.end(), rest.begin(), rest.end());
  return code;
}

Code if_equal(uint32_t value, const Code& then, const Code& otherwise) {
  return branch(BPF_JEQ, value, then, otherwise);
}

Code if_any_bit(uint32_t bits, const Code& then, const Code& otherwise) {
  return branch(BPF_JSET, bits, then, otherwise);
}

Code search(std::span<const Range> ranges) {
  if (ranges.size() == 1) return *ranges[0].code;
  const size_t middle = ranges.size() / 2;
  return branch(BPF_JGE, ranges[middle].first, search(ranges.subspan(middle)), search(ranges.first(middle)));
}

Code if_one_of(std::vector<uint32_t> values, const Code& then, const Code& otherwise) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  std::vector<Range> ranges{{0, &otherwise}};
  for (uint32_t value : values) {
    if (ranges.back().first == value) ranges.pop_back();
    add_range(&ranges, value, &then);
    if (value != UINT32_MAX) ranges.push_back({value + 1, &otherwise});
  }
  return search(ranges);
}

void add_range(std::vector<Range>* ranges, uint32_t first, const Code* code) {
  if (ranges->empty() || ranges->back().code != code) ranges->push_back({first, code});
}

}  // namespace km::confine
