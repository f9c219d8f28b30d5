// SPDX-License-Identifier: Apache-2.0
// From a file name to a program ready to run: ELF image, interpreter, initial stack.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "native/driver/driver.h"
#include "native/loader/load_error.h"

namespace km {

class AddressSpace;

/// A program resolved from what was typed: shebang lines followed, the file opened and its headers checked.
struct Program {
  int fd = -1;                    ///< opened O_RDONLY|O_CLOEXEC; the caller closes
  std::string path;               ///< realpath of the ELF file
  std::string execfn;             ///< the file as it was named, before any `#!`: AT_EXECFN
  std::vector<std::string> argv;  ///< with interpreter and script inserted for `#!` files
};

/// Finds a command as execvp(3) does: a name with a slash is itself; else the first executable regular file
/// of that name in `path` (value of PATH; nullptr: the default path), else the name itself, a file in the
/// current directory.
std::string find_command(const std::string& name, const char* path);

/// Opens `file` (a path; no PATH search), follows `#!` (as deep as Linux does), checks type, x-permission and
/// the ELF header. On failure nothing stays open.
bool resolve_program(const std::string& file, std::vector<std::string> argv, Program* program,
                     LoadError* error);

/// Everything load_image() can find wrong without mapping anything: both ELF files, their placement in
/// `window`. For execve(2), which must fail while the caller still exists.
bool check_program(const Program& program, Window window, LoadError* error);

/// Addresses of a loaded image.
struct Image {
  uint64_t entry = 0;             ///< where execution starts (interpreter's entry when there is one)
  uint64_t program_entry = 0;     ///< AT_ENTRY
  uint64_t phdr = 0, phnum = 0;   ///< AT_PHDR, AT_PHNUM
  uint64_t interpreter_base = 0;  ///< AT_BASE, 0 without one
  uint64_t brk = 0;               ///< end of the highest segment
  bool executable_stack = false;  ///< PT_GNU_STACK says so
};

/// Maps the ELF file and its PT_INTERP into the address space and sets where the heap begins.
bool load_image(const Program& program, AddressSpace& memory, Image* image, LoadError* error);

struct StackInput {
  const std::vector<std::string>* argv;
  const std::vector<std::string>* envp;
  std::string execfn;
  const Image* image;
  uint64_t vdso_base = 0;  ///< 0: none
  uint64_t stack_top = 0;  ///< address behind the last byte of the mapped stack
  uint64_t stack_size = 0;
};

/// Writes argc/argv/envp/auxv as execve(2) does; returns the initial rsp. `auxv` receives the pairs incl.
/// AT_NULL. [stack_top - stack_size, stack_top) must be mapped writable.
bool build_stack(const StackInput& input, uint64_t* rsp, std::vector<uint64_t>* auxv, LoadError* error);

}  // namespace km
