// SPDX-License-Identifier: Apache-2.0
// Bare checks for test/native: a failed one prints its place and what was seen; the program goes on and
// exits 1.
#pragma once

#include <cstdio>
#include <cstring>
#include <string>

namespace check {

inline int passed = 0, failed = 0;

inline bool that(bool good, const char* text, const char* file, int line, const std::string& seen = "") {
  good ? passed++ : failed++;
  if (!good)
    fprintf(stderr, "%s:%d: not so: %s%s%s\n", file, line, text,
            seen.empty() ? "" : "\n  seen: ", seen.c_str());
  return good;
}

/// To be returned from main.
inline int finish(const char* name) {
  printf("%s: %d passed, %d failed\n", name, passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}

}  // namespace check

#define CHECK(condition) ::check::that((condition), #condition, __FILE__, __LINE__)
#define CHECK_SEEN(condition, seen) ::check::that((condition), #condition, __FILE__, __LINE__, (seen))
