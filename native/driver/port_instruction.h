// SPDX-License-Identifier: Apache-2.0
// Recognises `in` and `out` with the port in DX, and their string forms, in payload code.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/driver/driver.h"

namespace km {

constexpr size_t kLongestInstruction = 15;  // SDM vol. 2, 2.3.11

struct PortInstruction {
  uint8_t length = 0;  ///< bytes; 0: it is something else, or cut off
  uint8_t size = 4;    ///< bytes per access
  bool is_in = false, is_string = false;
};

/// Looks at the first instruction of `code`, of which `bytes` are there.
PortInstruction decode_port(const uint8_t* code, size_t bytes);

/// Copies payload memory that may not be there: 0, or -EFAULT.
using CodeReader = int (*)(void* to, uint64_t from, size_t len);

/// Who drives machines without the monitor around them (tests, the installer's proof) needs none: until this is called
/// the code is read by process_vm_readv(2), which the monitor's own filter forbids.
void set_code_reader(CodeReader reader);

/// Reads payload code: 0 to `most` bytes, whatever the payload did to the mapping meanwhile.
size_t read_code(uint64_t addr, uint8_t* to, size_t most);

/// Where the device gives a #GP instead of an exit for `in` and `out` at CPL 3: if that is what `exit` was, on a
/// hypercall port or near one (kvm_layout.h), turns it into the kIo exit, rip of `regs` behind the instruction.
void turn_into_port_access(Regs& regs, Exit* exit);

}  // namespace km
