// SPDX-License-Identifier: Apache-2.0
// Port instructions by their encodings (SDM vol. 2: IN, OUT, INS, OUTS).
#include "native/driver/port_instruction.h"

#include <sys/mman.h>

#include <vector>

#include "test/native/check.h"

using namespace km;

namespace {

struct Sample {
  const char* text;
  std::vector<uint8_t> code;
  uint8_t length, size;
  bool is_in, is_string;
};

const Sample kSamples[] = {
    {"in %dx, %al", {0xec}, 1, 1, true, false},
    {"in %dx, %eax", {0xed}, 1, 4, true, false},
    {"in %dx, %ax", {0x66, 0xed}, 2, 2, true, false},
    {"out %al, %dx", {0xee}, 1, 1, false, false},
    {"out %eax, %dx", {0xef, 0x90}, 1, 4, false, false},
    {"out %ax, %dx", {0x66, 0xef}, 2, 2, false, false},
    {"out %al, %dx with an idle operand size", {0x66, 0xee}, 2, 1, false, false},
    {"rex.w out %eax, %dx", {0x48, 0xef}, 2, 4, false, false},
    {"insb", {0x6c}, 1, 1, true, true},
    {"rep insl", {0xf3, 0x6d}, 2, 4, true, true},
    {"rep outsw of %fs, 32-bit address", {0xf3, 0x64, 0x67, 0x66, 0x6f}, 5, 2, false, true},
    {"outsb", {0x6e}, 1, 1, false, true},
    {"in $0x60, %al: the port is not in DX", {0xe4, 0x60}, 0, 0, false, false},
    {"lock out", {0xf0, 0xef}, 0, 0, false, false},
    {"hlt", {0xf4}, 0, 0, false, false},
    {"a prefix and no more", {0x66}, 0, 0, false, false},
    {"nothing", {}, 0, 0, false, false},
    {"fourteen prefixes", std::vector<uint8_t>{0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0xef},
     15, 2, false, false},
    {"fifteen prefixes: too long for a CPU", std::vector<uint8_t>(15, 0x66), 0, 0, false, false},
};

/// Where a payload's code may lie: `out %eax, %dx` as the last byte of a page with nothing behind it.
uint64_t place_out() {
  constexpr uint64_t kPlace = 0x10000000, kPageSize = 4096;
  void* page = mmap(reinterpret_cast<void*>(kPlace), kPageSize, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (page == MAP_FAILED) return 0;
  static_cast<uint8_t*>(page)[kPageSize - 1] = 0xef;
  return kPlace + kPageSize - 1;
}

void test_faults() {
  const uint64_t out = place_out();
  CHECK(out != 0);
  struct {
    uint64_t rip, port;
    uint8_t vector;
    uint32_t error;
    bool turned;
  } const cases[] = {
      {out, 0x8000, 13, 0, true},     {out, 0x81ff, 13, 0, true},      {out, 0x7f00, 13, 0, true},
      {out, 0x87ff, 13, 0, true},     {out, 0x7eff, 13, 0, false},     {out, 0x8800, 13, 0, false},
      {out, 0x60, 13, 0, false},      {out, 0x8000, 13, 8, false},     {out, 0x8000, 6, 0, false},
      {out - 1, 0x8000, 13, 0, false},  // add: not a port instruction
      {out + 1, 0x8000, 13, 0, false},  // nothing is there
      {0x1000, 0x8000, 13, 0, false},   // below the window
      {~0ull, 0x8000, 13, 0, false},  // at the end of everything
  };
  for (const auto& c : cases) {
    Regs regs{};
    regs.rip = c.rip;
    regs.rdx = 0xabcd0000 | c.port;
    Exit exit{.kind = ExitKind::kException, .vector = c.vector, .error_code = c.error};
    turn_into_port_access(regs, &exit);
    const std::string seen = "rip " + std::to_string(c.rip) + " port " + std::to_string(c.port);
    CHECK_SEEN((exit.kind == ExitKind::kIo) == c.turned, seen);
    CHECK_SEEN(regs.rip == c.rip + (c.turned ? 1 : 0), seen);
    if (c.turned) CHECK_SEEN(exit.port == c.port && exit.size == 4 && exit.count == 1 && !exit.is_in, seen);
  }
}

}  // namespace

int main() {
  test_faults();
  for (const Sample& sample : kSamples) {
    const PortInstruction found = decode_port(sample.code.data(), sample.code.size());
    CHECK_SEEN(found.length == sample.length, std::string(sample.text) + ": length " + std::to_string(found.length));
    if (sample.length == 0) continue;
    CHECK_SEEN(found.size == sample.size, std::string(sample.text) + ": size " + std::to_string(found.size));
    CHECK_SEEN(found.is_in == sample.is_in && found.is_string == sample.is_string, sample.text);
  }
  return check::finish("port_instruction");
}
