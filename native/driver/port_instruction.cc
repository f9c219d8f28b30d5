// SPDX-License-Identifier: Apache-2.0
#include "native/driver/port_instruction.h"

#include <errno.h>
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

int read_own(void* to, uint64_t from, size_t len) {
  iovec here{to, len}, there{reinterpret_cast<void*>(from), len};  // an address for the kernel to look at, not for us
  return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == static_cast<ssize_t>(len) ? 0 : -EFAULT;
}

CodeReader code_reader = read_own;

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

void set_code_reader(CodeReader reader) { code_reader = reader; }

size_t read_code(uint64_t addr, uint8_t* to, size_t most) {
  if (addr < kvm::kWindowStart || addr >= kvm::kWindowTop) return 0;
  if (code_reader(to, addr, most) == 0) return most;
  // It may straddle into a page that is not there: then as many bytes as there are.
  const size_t here = std::min<size_t>(most, kvm::kPage - addr % kvm::kPage);
  return here < most && code_reader(to, addr, here) == 0 ? here : 0;
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
