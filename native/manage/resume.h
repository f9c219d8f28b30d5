// SPDX-License-Identifier: Apache-2.0
// Calls that wait for a relative time, and how to go on with what is left of it.
#pragma once

#include <time.h>

#include <cstdint>

namespace km {

/// A forwarded call that may have to be made again because the management signal, of which the payload knows nothing,
/// ended it with EINTR. Linux itself would continue it (signal(7), "Interruption of system calls").
class Resumable {
 public:
  Resumable(int64_t nr, const uint64_t args[6]);

  /// Arguments for the next attempt, with the time that is left. Those of the first when the call has no relative time.
  const uint64_t* again();

 private:
  enum class Unit : uint8_t { kNone, kMilliseconds, kTimespec };
  Unit unit_ = Unit::kNone;
  uint8_t index_ = 0;
  const uint64_t* args_;
  uint64_t changed_[6];
  timespec left_{};
  int64_t start_ = 0;
};

}  // namespace km
