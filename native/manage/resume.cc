// SPDX-License-Identifier: Apache-2.0
#include "native/manage/resume.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>

#include "native/machine/guest_thread.h"

namespace km {
namespace {

int64_t now_ns() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1'000'000'000 + ts.tv_nsec;
}

bool relative_futex(uint64_t op) { return (op & FUTEX_CMD_MASK) == FUTEX_WAIT; }

}  // namespace

// select, pselect6 and ppoll are not here: the kernel writes the time left back by itself.
Resumable::Resumable(int64_t nr, const uint64_t args[6]) : args_(args) {
  constexpr int64_t kEpollPwait2 = 441;
  auto is = [this](Unit unit, uint8_t index) {
    unit_ = unit;
    index_ = index;
  };
  switch (nr) {
    case SYS_nanosleep: is(Unit::kTimespec, 0); break;
    case SYS_clock_nanosleep:
      if (args[1] == 0) is(Unit::kTimespec, 2);  // not TIMER_ABSTIME
      break;
    case SYS_futex:
      if (relative_futex(args[1])) is(Unit::kTimespec, 3);
      break;
    case SYS_rt_sigtimedwait: is(Unit::kTimespec, 2); break;
    case SYS_semtimedop: is(Unit::kTimespec, 3); break;
    case SYS_io_getevents: is(Unit::kTimespec, 4); break;
    case kEpollPwait2: is(Unit::kTimespec, 3); break;
    case SYS_poll: is(Unit::kMilliseconds, 2); break;
    case SYS_epoll_wait: case SYS_epoll_pwait: is(Unit::kMilliseconds, 3); break;
    default: return;
  }
  if (unit_ == Unit::kTimespec && args[index_] == 0) unit_ = Unit::kNone;  // no limit
  if (unit_ == Unit::kMilliseconds && static_cast<int>(args[index_]) <= 0) unit_ = Unit::kNone;
  if (unit_ != Unit::kNone) start_ = now_ns();
}

const uint64_t* Resumable::again() {
  if (unit_ == Unit::kNone) return args_;
  const int64_t elapsed = now_ns() - start_;
  memcpy(changed_, args_, sizeof changed_);
  if (unit_ == Unit::kMilliseconds) {
    const int64_t left = static_cast<int>(args_[index_]) - elapsed / 1'000'000;
    changed_[index_] = static_cast<uint64_t>(left > 0 ? left : 0);
    return changed_;
  }
  timespec wanted;
  if (copy_from_guest(&wanted, args_[index_], sizeof wanted) != 0) return args_;
  const int64_t left = wanted.tv_nsec - elapsed % 1'000'000'000;
  left_.tv_sec = wanted.tv_sec - elapsed / 1'000'000'000 - (left < 0);
  left_.tv_nsec = left < 0 ? left + 1'000'000'000 : left;
  if (left_.tv_sec < 0) left_ = {};
  changed_[index_] = reinterpret_cast<uint64_t>(&left_);
  return changed_;
}

}  // namespace km
