// SPDX-License-Identifier: Apache-2.0
// From a number and six registers to an answer.
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cinttypes>

#include "native/base/log.h"
#include "native/base/private_fd.h"
#include "native/syscalls/internal.h"
#include "native/syscalls/observe.h"
#include "native/syscalls/spec.h"

namespace km {
namespace {

std::atomic<bool> kill_unimplemented{false};

/// Numbers that were already named on the log: one line each, however often a hostile payload asks.
std::atomic<uint64_t> named[kCallCount / 64];

bool first_time(uint64_t nr) {
  uint64_t index = nr < kCallCount ? nr : kCallCount - 1;  // all numbers beyond the table share the last one's bit
  uint64_t bit = 1ull << (index % 64);
  return (named[index / 64].fetch_or(bit, std::memory_order_relaxed) & bit) == 0;
}

int64_t refuse(uint64_t nr, const CallSpec& call) {
  if (call.cls == Class::kAbsent || call.cls == Class::kQuiet) return -call.error;
  if (first_time(nr)) {
    if (call.cls == Class::kUnknown) {
      KM_LOG("system call %" PRIu64 " is unknown: ENOSYS", nr);
    } else {
      KM_LOG("system call %s (%" PRIu64 ") is refused: %s", call.name, nr, error_name(call.error));
    }
  }
  if (kill_unimplemented.load(std::memory_order_relaxed))
    host_syscall(SYS_tgkill, static_cast<uint64_t>(getpid()), static_cast<uint64_t>(gettid()), SIGSYS);
  return call.cls == Class::kUnknown ? -ENOSYS : -call.error;
}

/// Cuts the length of a byte buffer at the window's end, where Linux would meet unmapped memory: a short count there
/// is right, while EFAULT would break `read(fd, buffer, INT_MAX)` into a buffer near the top of the stack.
void cut_at_window(uint64_t* addr, uint64_t* length) {
  const uint64_t end = process().memory->window().end;
  if (*addr >= end) *addr = safe_range(*addr, *length);
  else if (*addr != 0 && *length > end - *addr) *length = end - *addr;
}

/// Descriptors the monitor owns are not there (-EBADF); addresses outside the window are made unusable.
int check_arguments(const CallSpec& call, uint64_t args[6]) {
  for (unsigned i = 0; i < call.count; i++) {
    const ArgSpec& spec = call.args[i];
    switch (spec.kind) {
      case Arg::kFd: case Arg::kDirFd:
        if (is_private_fd(static_cast<int>(args[i]))) return -EBADF;
        break;
      case Arg::kPath: case Arg::kStr:
        args[i] = safe_pointer(args[i]);
        break;
      case Arg::kIn: case Arg::kOut: case Arg::kInOut:
        args[i] = spec.arg < 0 ? safe_pointer(args[i]) : safe_range(args[i], argument_length(call, i, args));
        break;
      case Arg::kInBuf: case Arg::kOutBuf:
        cut_at_window(&args[i], &args[spec.arg]);
        break;
      default:
        break;
    }
  }
  return 0;
}

int64_t answer(GuestThread& thread, uint64_t nr, const CallSpec& call, uint64_t args[6]) {
  if (call.cls != Class::kForward && call.cls != Class::kHandle) return refuse(nr, call);
  if (int error = check_arguments(call, args); error != 0) return error;
  if (call.cls == Class::kForward) return forward_syscall(thread, static_cast<int64_t>(nr), args);
  return call.handler(thread, args);
}

}  // namespace

void kill_on_unimplemented(bool on) { kill_unimplemented = on; }

int64_t forward(GuestThread& thread, int64_t nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                uint64_t a5) {
  const uint64_t args[6] = {a0, a1, a2, a3, a4, a5};
  return forward_syscall(thread, nr, args);
}

void log_refused_once(const char* what, uint64_t number) {
  static std::atomic<uint64_t> seen[64];
  uint64_t mark = (reinterpret_cast<uint64_t>(what) << 32 ^ number) | 1;
  for (std::atomic<uint64_t>& slot : seen) {
    uint64_t old = 0;
    if (slot.compare_exchange_strong(old, mark)) break;
    if (old == mark) return;
    if (&slot == &seen[63]) return;  // 64 different ones were named; enough for a log
  }
  KM_LOG("%s 0x%" PRIx64 " is refused", what, number);
}

int64_t dispatch_syscall(GuestThread& thread, uint64_t nr, const uint64_t raw[6]) {
  static const CallSpec unknown;
  nr = static_cast<uint32_t>(nr);  // as the kernel's entry code reads eax
  const CallSpec& call = nr < kCallCount ? kCalls[nr] : unknown;
  uint64_t args[6] = {raw[0], raw[1], raw[2], raw[3], raw[4], raw[5]};
  if (!observing()) return answer(thread, nr, call, args);
  Observation observation(nr, call, args);
  int64_t result = answer(thread, nr, call, args);
  observation.finish(result);
  return result;
}

}  // namespace km
