// SPDX-License-Identifier: Apache-2.0
// Hostile ELF files: every input is parsed and planned for windows of several sizes, and the plan checked
// against what it promises. A file that fits the small window is really loaded there, and the memory compared
// with the file.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "native/loader/loader.h"
#include "native/machine/address_space.h"
#include "test/fuzz/require.h"
#include "test/native/plan_bytes.h"

using namespace km;

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

// Below AddressSanitizer's shadow (0x7fff8000), so that loading can be tried for real.
constexpr Window kSmall{0x200000, 0x4000000};
constexpr Window kWindows[] = {{0x200000, 0x7fffe00000}, {0x200000, 0x1ffe00000}, kSmall};

/// A device that accepts everything: what matters here is the host's side of the mapping.
class NoMachine final : public Machine {
 public:
  Window window() const override { return kSmall; }
  int protect(uint64_t, uint64_t, uint32_t) override { return 0; }
  int fill(uint64_t, uint64_t, uint64_t, uint32_t) override { return 0; }
  int map_private(uint64_t, const void*, uint64_t, uint32_t) override { return 0; }
  std::unique_ptr<Vcpu> create_vcpu(int*) override { return nullptr; }
  uint64_t sigreturn_address() const override { return 0; }
  size_t xstate_size() const override { return 0; }
  uint64_t xcr0() const override { return 0; }
  const char* kind() const override { return "none"; }
  void abandon() override {}
};

void check_mapping(const Mapping& mapping, const LoadPlan& plan, uint64_t previous_end, size_t size) {
  REQUIRE(mapping.start % kPageSize == 0 && mapping.end % kPageSize == 0 && mapping.start < mapping.end);
  REQUIRE(mapping.start >= previous_end && mapping.end <= plan.end);
  REQUIRE((mapping.prot & ~uint32_t{PROT_READ | PROT_WRITE | PROT_EXEC}) == 0);
  REQUIRE(mapping.zero_start <= mapping.zero_end);
  if (mapping.zero_start != mapping.zero_end) {
    REQUIRE(mapping.from_file && (mapping.prot & PROT_WRITE));
    REQUIRE(mapping.zero_start >= mapping.start && mapping.zero_end == mapping.end);
    REQUIRE(mapping.zero_end - mapping.zero_start < kPageSize);
  }
  if (!mapping.from_file) return;
  uint64_t length = mapping.end - mapping.start;
  REQUIRE(mapping.offset % kPageSize == 0 && mapping.offset + length > mapping.offset);
  REQUIRE(mapping.offset + length <= page_up(size));  // no page without file behind it
}

/// Every byte of every segment lies in a mapping.
void check_covered(const ElfFile& file, const LoadPlan& plan) {
  for (const Segment& segment : file.segments) {
    uint64_t at = segment.vaddr + plan.bias, end = at + segment.memsz;
    for (const Mapping& mapping : plan.mappings) {
      if (mapping.start <= at && at < mapping.end) at = mapping.end;
    }
    REQUIRE(at >= end);
  }
}

void check_plan(const ElfFile& file, const LoadPlan& plan, Window window, size_t size) {
  REQUIRE(plan.start >= window.start && plan.end <= window.end && plan.start < plan.end);
  REQUIRE(plan.start % kPageSize == 0 && plan.end % kPageSize == 0);
  REQUIRE(plan.bias == 0 || file.header.position_independent);
  REQUIRE(!file.header.position_independent || plan.bias % file.align == 0);
  REQUIRE(plan.entry < window.end && plan.brk > plan.start && plan.brk <= plan.end);
  REQUIRE(!plan.mappings.empty());
  uint64_t previous_end = plan.start;
  for (const Mapping& mapping : plan.mappings) {
    check_mapping(mapping, plan, previous_end, size);
    previous_end = mapping.end;
  }
  check_covered(file, plan);
}

/// A file's page as it must be in memory; bytes behind the end of the file are zero.
bool page_is(uint64_t address, const Mapping& mapping, std::span<const uint8_t> bytes) {
  uint8_t expected[kPageSize] = {};
  std::span<const uint8_t> piece = piece_of(bytes, mapping.offset + (address - mapping.start), kPageSize);
  memcpy(expected, piece.data(), piece.size());
  for (uint64_t i = 0; i < kPageSize; i++) {
    if (address + i >= mapping.zero_start && address + i < mapping.zero_end) expected[i] = 0;
  }
  return memcmp(reinterpret_cast<const void*>(address), expected, kPageSize) ==
         0;  // mapped readable: see caller
}

void check_memory(const LoadPlan& plan, std::span<const uint8_t> bytes) {
  for (const Mapping& mapping : plan.mappings) {
    bool readable = mapping.prot & PROT_READ;
    if (mapping.from_file && readable) {
      REQUIRE(page_is(mapping.start, mapping, bytes));
      REQUIRE(page_is(mapping.end - kPageSize, mapping, bytes));
    }
    if (!mapping.from_file) REQUIRE(*reinterpret_cast<const uint64_t*>(mapping.end - 8) == 0);
  }
}

void load_for_real(std::span<const uint8_t> bytes, const ElfFile& file, const LoadPlan& plan) {
  static const int fd = memfd_create("program", MFD_CLOEXEC);
  static NoMachine machine;
  REQUIRE(ftruncate(fd, 0) == 0 &&
          pwrite(fd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  AddressSpace memory(machine);
  Program program;
  program.fd = fd;
  program.path = "input";
  Image image;
  LoadError error;
  if (load_image(program, memory, &image, &error)) {
    REQUIRE(image.program_entry == plan.entry && image.phdr == plan.phdr && image.brk == plan.brk);
    REQUIRE(image.phnum == file.header.phnum);
    check_memory(plan, bytes);
  } else {
    REQUIRE(!error.message.empty() && error.error > 0);
  }
  memory.munmap(kSmall.start, kSmall.end - kSmall.start);
}

void check_error(const LoadError& error) {
  REQUIRE(error.error > 0 && !error.message.empty() && error.message.find('\n') == std::string::npos);
}

constexpr uint64_t kInteresting[] = {0,
                                     1,
                                     2,
                                     7,
                                     56,
                                     4095,
                                     4096,
                                     4097,
                                     0x200000,
                                     0x400000,
                                     0x4000000,
                                     1ull << 31,
                                     1ull << 32,
                                     0x7fffe00000,
                                     1ull << 46,
                                     1ull << 47,
                                     (1ull << 47) - 1,
                                     1ull << 63,
                                     (1ull << 63) - 1,
                                     ~0ull,
                                     ~0xfffull,
                                     ~0x1fffffull};

}  // namespace

/// Half of the mutations set or nudge one 64-bit word of the headers, where all the arithmetic is.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  constexpr size_t kHeaders = 64 + 8 * 56;
  if (seed % 2 == 0 || size < 64) return LLVMFuzzerMutate(data, size, max_size);
  seed /= 2;
  size_t words = std::min(size, kHeaders) / 8;
  size_t at = seed % words * 8;
  seed /= static_cast<unsigned>(words);
  uint64_t value;
  memcpy(&value, data + at, sizeof(value));
  switch (seed % 4) {
    case 0:
      value = kInteresting[seed / 4 % std::size(kInteresting)];
      break;
    case 1:
      value += kInteresting[seed / 4 % std::size(kInteresting)];
      break;
    case 2:
      value -= kInteresting[seed / 4 % std::size(kInteresting)];
      break;
    default:
      memcpy(&value, data + seed / 4 % words * 8, sizeof(value));
      break;
  }
  memcpy(data + at, &value, sizeof(value));
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const uint8_t> bytes(data, size);
  for (Window window : kWindows) {
    ElfFile file;
    LoadPlan plan;
    LoadError error;
    if (!plan_bytes(bytes, window, &file, &plan, &error)) {
      check_error(error);
      continue;
    }
    check_plan(file, plan, window, size);
    if (window.end == kSmall.end) load_for_real(bytes, file, plan);
  }
  return 0;
}
