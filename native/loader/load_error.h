// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace km {

/// Why a file cannot be run: errno as execve(2) would give it and one line for people.
struct LoadError {
  int error = 0;
  std::string message;
};

/// Fills `out` and returns false, so that a check reads `return fail(error, ENOEXEC, "...")`.
[[gnu::format(printf, 3, 4)]] bool fail(LoadError* out, int error, const char* format, ...);

/// Puts `'<file>': ` in front of the message; returns false.
bool fail_in(LoadError* out, const std::string& file);

}  // namespace km
