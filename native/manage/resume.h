// SPDX-License-Identifier: Apache-2.0
// Calls that wait for a limited time, and how to go on with what is left of it.
#pragma once

#include <signal.h>
#include <time.h>

#include <cstdint>

namespace km {

/// A forwarded call that may have to be made again because the management signal, of which the payload knows nothing,
/// ended it. Linux itself would continue it (signal(7), "Interruption of system calls").
class Resumable {
 public:
  Resumable(int64_t nr, const uint64_t args[6]);

  /// A socket call limited by SO_RCVTIMEO or SO_SNDTIMEO waits here for the rest of its time. Returns 0 when the call
  /// is to be made again, else what it ends with; -EINTR when another signal came (`*captured`: the payload's).
  int64_t await_socket(volatile sig_atomic_t* captured);

  /// Arguments for the next attempt, with the time that is left. Those of the first when they hold no relative time.
  const uint64_t* again();

 private:
  enum class Unit : uint8_t { kNone, kMilliseconds, kTimespec, kTimespecBack, kReceive, kSend };
  timespec left_of(const timespec& limit) const;

  Unit unit_ = Unit::kNone;
  uint8_t index_ = 0;  ///< of the argument that is the time, or the socket
  int64_t nr_;
  const uint64_t* args_;
  uint64_t changed_[6];
  timespec left_{};
  int64_t start_ = 0;
};

}  // namespace km
