// SPDX-License-Identifier: Apache-2.0
#include "native/driver/port_instruction.h"

#include <algorithm>

namespace km {
namespace {

/// Legacy prefixes and REX (SDM vol. 2, 2.1.1 and 2.2.1); none but the operand size changes a port access. LOCK (0xf0)
/// is none of them: it makes the instruction undefined.
bool is_prefix(uint8_t byte) {
  const bool segment = (byte & 0xe7) == 0x26 || (byte & 0xfe) == 0x64;
  return segment || byte == 0x66 || byte == 0x67 || byte == 0xf2 || byte == 0xf3 || (byte & 0xf0) == 0x40;
}

}  // namespace

PortInstruction decode_port(const uint8_t* code, size_t bytes) {
  PortInstruction found;
  bytes = std::min(bytes, kLongestInstruction);
  size_t at = 0;
  for (; at < bytes && is_prefix(code[at]); at++)
    if (code[at] == 0x66) found.size = 2;
  if (at == bytes) return found;
  const uint8_t opcode = code[at];
  found.is_string = (opcode & 0xfc) == 0x6c;  // ins, outs
  if (!found.is_string && (opcode & 0xfc) != 0xec) return found;
  found.is_in = (opcode & 2) == 0;
  if ((opcode & 1) == 0) found.size = 1;
  found.length = static_cast<uint8_t>(at + 1);
  return found;
}

}  // namespace km
