// SPDX-License-Identifier: Apache-2.0
// The one list of km's options; parser, --help, docs/km-options.md and the tests are made from it.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "native/km/options.h"

namespace km {

enum class OptionArg : uint8_t { kNone, kRequired, kOptional };

enum class OptionKind : uint8_t {
  kNormal,       ///< carried on to the monitor of a program the payload execs
  kStart,        ///< only for the program km was started with
  kNoEffect,     ///< accepted for scripts written for the original
  kUnavailable,  ///< known and refused: never silently ignored
  kInternal,     ///< between one km and the next (exec); not in any text
};

/// What the options collect besides Options.
struct ParseState {
  Options* options;
  Strings putenv;
  Strings copyenv;  ///< prefixes of variables to leave out
  bool copyenv_given = false;
  bool argv0_given = false;
  std::string argv0;  ///< of the payload when it is not the program's name (exec)
  std::string print;  ///< text that ends the run (--help, --version)
};

/// Applies a value ("" without one). Returns false with the reason in `why`, worded to follow "option --name
/// ".
using OptionSetter = bool (*)(ParseState& state, const std::string& value, std::string* why);

struct OptionSpec {
  const char* name;
  char letter;  ///< 0: none
  OptionArg arg;
  OptionKind kind;
  const char* arg_name;
  const char* help;
  OptionSetter set;  ///< nullptr for kNoEffect and kUnavailable
};

struct EnvironmentSpec {
  const char* name;
  const char* help;
};

std::span<const OptionSpec> option_table();
std::span<const EnvironmentSpec> environment_table();

std::string help_text();
std::string help_markdown();
std::string version_text();

}  // namespace km
