// SPDX-License-Identifier: Apache-2.0
// Watching system calls: strace-like lines (--trace) and counters (-S). Costs one load per call when off.
#pragma once

#include <atomic>
#include <cstdint>

namespace km {

struct CallSpec;

/// Chooses what is traced: names of calls, classes (file desc net process memory signal time ipc sched id system poll
/// aio) or "all", separated by commas; "!" in front takes away. Returns nullptr, or the word that names nothing.
const char* trace_syscalls(const char* classes);

/// Starts counting calls, errors and time per call.
void count_syscalls();

/// Counters of one call. Times are nanoseconds of wall clock from entry to result, waiting included.
struct SyscallCount {
  uint64_t calls, errors, nanoseconds;
};

/// Calls fn(nr, name, count, arg) for each call made so far, in order of number; unknown numbers come last as one
/// entry with name "unknown".
void for_each_count(void (*fn)(uint64_t nr, const char* name, const SyscallCount& count, void* arg), void* arg);

/// Writes the table of -S to the log, most time first; nothing when counting is off.
void print_syscall_counts();

/// Forgets the counts (child after fork).
void reset_syscall_counts();

/// SIGSYS to the calling thread for every call that is refused for lack of an implementation.
void kill_on_unimplemented(bool on);

/// "ENOENT" for 2; "?" for numbers Linux does not have.
const char* error_name(int error);

namespace detail {
extern std::atomic<bool> watching;
}

inline bool observing() { return detail::watching.load(std::memory_order_relaxed); }

/// One call being watched. Arguments are shown as they were before the call, except memory the kernel writes.
class Observation {
 public:
  Observation(uint64_t nr, const CallSpec& call, const uint64_t args[6]);
  void finish(int64_t result);

 private:
  void print(const char* result);

  uint64_t nr_;
  const CallSpec& call_;
  uint64_t args_[6];
  uint64_t start_ = 0;
  bool traced_ = false;
};

}  // namespace km
