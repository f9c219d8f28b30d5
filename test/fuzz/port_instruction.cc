// SPDX-License-Identifier: Apache-2.0
// Payload code of any kind.
#include "native/driver/port_instruction.h"
#include "test/fuzz/require.h"

using namespace km;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const PortInstruction found = decode_port(data, size);
  REQUIRE(found.length <= size && found.length <= kLongestInstruction);
  if (found.length == 0) return 0;
  REQUIRE(found.size == 1 || found.size == 2 || found.size == 4);
  const uint8_t opcode = data[found.length - 1];
  REQUIRE((opcode & 0xfc) == 0xec || (opcode & 0xfc) == 0x6c);
  // What follows the instruction does not matter; without its last byte it is none.
  REQUIRE(decode_port(data, found.length).length == found.length);
  REQUIRE(decode_port(data, found.length - 1u).length == 0);
  return 0;
}
