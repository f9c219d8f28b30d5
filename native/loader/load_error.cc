// SPDX-License-Identifier: Apache-2.0
#include "native/loader/load_error.h"

#include <cstdarg>
#include <cstdio>

namespace km {

bool fail(LoadError* out, int error, const char* format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  out->error = error;
  out->message = text;
  return false;
}

bool fail_in(LoadError* out, const std::string& file) {
  out->message = "'" + file + "': " + out->message;
  return false;
}

}  // namespace km
