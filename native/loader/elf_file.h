// SPDX-License-Identifier: Apache-2.0
// What an ELF file asks for, and where it goes: bytes in, validated plan out. No I/O, no mapping; the bytes
// are hostile (fuzz target: test/fuzz/elf_loader.cc). Formats: man 5 elf; System V ABI, AMD64 supplement.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "native/driver/driver.h"
#include "native/loader/load_error.h"

namespace km {

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t page_down(uint64_t addr) { return addr & ~(kPageSize - 1); }
/// `addr` must be below 2^64 - 4096.
constexpr uint64_t page_up(uint64_t addr) { return page_down(addr + kPageSize - 1); }

/// The part of the ELF header the loader uses.
struct ElfHeader {
  bool position_independent = false;  ///< ET_DYN
  uint64_t entry = 0;                 ///< unbiased
  uint64_t phoff = 0;                 ///< file offset of the program headers
  uint16_t phnum = 0;
};

constexpr size_t kElfHeaderSize = 64;
constexpr size_t kProgramHeaderSize = 56;

/// One PT_LOAD with something in it. All sums of fields are known not to overflow.
struct Segment {
  uint64_t vaddr = 0, memsz = 0;  ///< unbiased
  uint64_t offset = 0, filesz = 0;
  uint32_t prot = 0;  ///< PROT_*
};

/// An ELF file whose headers hold together.
struct ElfFile {
  ElfHeader header;
  std::vector<Segment> segments;  ///< ascending, not overlapping, at least one
  uint64_t phdr_vaddr = 0;        ///< unbiased address of the program headers in memory; valid if has_phdr
  bool has_phdr = false;
  uint64_t align = kPageSize;                             ///< largest p_align, a power of two >= one page
  uint64_t interpreter_offset = 0, interpreter_size = 0;  ///< file range of PT_INTERP; size 0: none
  bool executable_stack = false;

  uint64_t low() const { return page_down(segments.front().vaddr); }
  uint64_t high() const { return page_up(segments.back().vaddr + segments.back().memsz); }
};

/// Checks the first bytes of a file. `bytes` may be shorter than the header if the file is.
bool parse_elf_header(std::span<const uint8_t> bytes, ElfHeader* header, LoadError* error);

/// Checks the program header table: `table` holds header.phnum entries, or fewer when the file ends before.
bool parse_program_headers(const ElfHeader& header, std::span<const uint8_t> table, uint64_t file_size,
                           ElfFile* file, LoadError* error);

/// The path in PT_INTERP: `bytes` are the interpreter_size bytes, or fewer when the file ends before.
bool parse_interpreter_path(const ElfFile& file, std::span<const uint8_t> bytes, std::string* path,
                            LoadError* error);

/// One mmap of the plan. Page-aligned addresses.
struct Mapping {
  uint64_t start = 0, end = 0;
  uint32_t prot = 0;
  bool from_file = false;
  uint64_t offset = 0;                    ///< file offset of `start`, page-aligned
  uint64_t zero_start = 0, zero_end = 0;  ///< bytes of the last file page to be zeroed (bss); empty if equal
};

/// Where an ELF file goes: mappings ascending and disjoint, inside the window.
struct LoadPlan {
  uint64_t bias = 0;  ///< added (modulo 2^64) to the addresses in the file
  uint64_t start = 0, end = 0;
  uint64_t entry = 0;
  uint64_t phdr = 0;  ///< 0: the headers are in no segment
  uint64_t brk = 0;   ///< end of the highest segment, not rounded
  std::vector<Mapping> mappings;
};

/// The lowest place at or above `floor` (page-aligned) that suits the file's alignment, as a bias; 0 for
/// ET_EXEC.
uint64_t choose_bias(const ElfFile& file, uint64_t floor);

/// Lays the segments out at `bias`, as Linux does (fs/binfmt_elf.c: where segments share a page the higher
/// one gets it; pages behind the file's part are anonymous and writable).
bool plan_load(const ElfFile& file, uint64_t bias, Window window, LoadPlan* plan, LoadError* error);

}  // namespace km
