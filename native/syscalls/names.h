// SPDX-License-Identifier: Apache-2.0
// Names of flag bits and constants, for tracing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/syscalls/spec.h"

namespace km {

/// Fixed room for one trace line; what does not fit is cut.
class Text {
 public:
  [[gnu::format(printf, 2, 3)]] void add(const char* format, ...);
  void add_char(char c);
  const char* c_str() const { return text_; }
  size_t size() const { return size_; }

 private:
  static constexpr size_t kRoom = 1400;
  char text_[kRoom] = "";
  size_t size_ = 0;
};

/// `value` as A|B|0x40 (flag words).
void add_set(Text& out, Names set, uint64_t value);
/// `value` as its name, or as a number.
void add_enum(Text& out, Names set, uint64_t value);
/// "SIGINT", "SIGRT_2" or a number.
void add_signal(Text& out, int signo);

const char* error_name(int error);

}  // namespace km
