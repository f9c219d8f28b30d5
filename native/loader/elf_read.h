// SPDX-License-Identifier: Apache-2.0
// Reads the headers of an open file and has elf_file.h check them.
#pragma once

#include <string>

#include "native/loader/elf_file.h"

namespace km {

/// Reads at most `size` bytes at `offset`; short only at the end of the file. Returns the count or -errno.
int64_t read_at(int fd, uint64_t offset, void* to, uint64_t size);

/// Opens a file that is about to be executed: exists, regular, executable and readable for us. Returns a
/// descriptor (close-on-exec) or -1 with `error` filled, without the file's name.
int open_executable(const std::string& path, LoadError* error);

/// Headers of the open ELF file. Messages do not name the file.
bool read_elf(int fd, ElfFile* file, LoadError* error);

/// PT_INTERP's path of a file that has one.
bool read_interpreter_path(int fd, const ElfFile& file, std::string* path, LoadError* error);

/// Opens the interpreter and checks its headers. Messages name it. Returns a descriptor or -1.
int open_interpreter(const std::string& path, ElfFile* file, LoadError* error);

}  // namespace km
