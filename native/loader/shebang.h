// SPDX-License-Identifier: Apache-2.0
// The first line of a script, read as Linux reads it (fs/binfmt_script.c, man 2 execve "Interpreter
// scripts").
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace km {

constexpr size_t kShebangSize = 256;  ///< bytes of the file that are looked at (BINPRM_BUF_SIZE)
constexpr int kMaxScriptDepth = 5;    ///< scripts in a chain before ELOOP

struct Shebang {
  std::string interpreter;  ///< empty when a NUL stands where the name should be
  bool has_argument = false;
  std::string argument;  ///< all the rest of the line, outer blanks removed
};

enum class ShebangKind { kNone, kScript, kBroken };

/// `bytes`: the first kShebangSize bytes of a file, or all of a smaller one. kNone: does not start with `#!`.
/// kBroken: no interpreter named, or its name is cut off (ENOEXEC).
ShebangKind parse_shebang(std::span<const uint8_t> bytes, Shebang* shebang);

}  // namespace km
