// SPDX-License-Identifier: Apache-2.0
#include "native/driver/port_instruction.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "native/driver/kvm_layout.h"

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

size_t read_code(uint64_t addr, uint8_t* to, size_t most) {
  if (addr < kvm::kWindowStart || addr >= kvm::kWindowTop) return 0;
  iovec here{to, most}, there{reinterpret_cast<void*>(addr), most};
  // The bytes may straddle into a page that is not there: then as many as there are.
  ssize_t got = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
  if (got < 0) {
    here.iov_len = there.iov_len = std::min(most, kvm::kPage - addr % kvm::kPage);
    got = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
  }
  return got < 0 ? 0 : static_cast<size_t>(got);
}

void turn_into_port_access(Regs& regs, Exit* exit) {
  constexpr uint8_t kGeneralProtection = 13;
  if (exit->kind != ExitKind::kException || exit->vector != kGeneralProtection || exit->error_code != 0) return;
  const uint16_t port = static_cast<uint16_t>(regs.rdx);
  constexpr unsigned kFirst = kHypercallPort - kvm::kOpenPortsBelow;
  if (port < kFirst || port >= kHypercallPort + kHypercallCount + kvm::kOpenPortsAbove) return;
  uint8_t code[kLongestInstruction];
  const PortInstruction found = decode_port(code, read_code(regs.rip, code, sizeof code));
  if (found.length == 0) return;
  regs.rip += found.length;
  const uint32_t count = found.is_string ? 2 : 1;  // more than one: never a hypercall
  *exit = Exit{.kind = ExitKind::kIo, .size = found.size, .is_in = found.is_in, .port = port, .count = count};
}

}  // namespace km
