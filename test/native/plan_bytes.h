// SPDX-License-Identifier: Apache-2.0
// From the bytes of a file to a plan, by the parser load_image() uses; for unit tests and the fuzzer.
#pragma once

#include <algorithm>
#include <span>
#include <string>

#include "native/loader/elf_file.h"

/// The part of `bytes` a read of `size` bytes at `offset` would give.
inline std::span<const uint8_t> piece_of(std::span<const uint8_t> bytes, uint64_t offset, uint64_t size) {
  if (offset >= bytes.size()) return {};
  return bytes.subspan(offset, std::min<uint64_t>(size, bytes.size() - offset));
}

inline bool plan_bytes(std::span<const uint8_t> bytes, km::Window window, km::ElfFile* file,
                       km::LoadPlan* plan, km::LoadError* error) {
  km::ElfHeader header;
  if (!km::parse_elf_header(piece_of(bytes, 0, km::kElfHeaderSize), &header, error)) return false;
  std::span<const uint8_t> table = piece_of(bytes, header.phoff, header.phnum * km::kProgramHeaderSize);
  if (!km::parse_program_headers(header, table, bytes.size(), file, error)) return false;
  std::string path;
  if (file->interpreter_size > 0 &&
      !km::parse_interpreter_path(*file, piece_of(bytes, file->interpreter_offset, file->interpreter_size),
                                  &path, error)) {
    return false;
  }
  return km::plan_load(*file, km::choose_bias(*file, window.start), window, plan, error);
}
