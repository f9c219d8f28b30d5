// SPDX-License-Identifier: Apache-2.0
// Recognises `in` and `out` with the port in DX, and their string forms, in payload code.
#pragma once

#include <cstddef>
#include <cstdint>

namespace km {

constexpr size_t kLongestInstruction = 15;  // SDM vol. 2, 2.3.11

struct PortInstruction {
  uint8_t length = 0;  ///< bytes; 0: it is something else, or cut off
  uint8_t size = 4;    ///< bytes per access
  bool is_in = false, is_string = false;
};

/// Looks at the first instruction of `code`, of which `bytes` are there.
PortInstruction decode_port(const uint8_t* code, size_t bytes);

}  // namespace km
