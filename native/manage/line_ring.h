// SPDX-License-Identifier: Apache-2.0
// Log and trace lines on their way from payload threads to clients. Writers never wait: what does not fit is counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

namespace km {

class LineRing {
 public:
  void push(const char* line, size_t length) {
    std::lock_guard<std::mutex> guard(lock_);
    if (lines_.size() + length > kLimit) {
      dropped_++;
      return;
    }
    lines_.append(line, length);
  }

  /// Takes everything there is, and how many lines were lost before it.
  uint64_t take(std::string* lines) {
    std::lock_guard<std::mutex> guard(lock_);
    lines->swap(lines_);
    lines_.clear();
    uint64_t dropped = dropped_;
    dropped_ = 0;
    return dropped;
  }

 private:
  static constexpr size_t kLimit = 256 * 1024;
  std::mutex lock_;
  std::string lines_;
  uint64_t dropped_ = 0;
};

}  // namespace km
