// SPDX-License-Identifier: Apache-2.0
#include "native/manage/resume.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "native/machine/guest_thread.h"

extern "C" int64_t km_forward(volatile sig_atomic_t* captured, int64_t nr, const uint64_t args[6]);

namespace km {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

int64_t now_ns() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * kSecond + ts.tv_nsec;
}

bool relative_futex(uint64_t op) { return (op & FUTEX_CMD_MASK) == FUTEX_WAIT; }

uint64_t address(const void* own) { return reinterpret_cast<uint64_t>(own); }  // of monitor memory, for the host only

}  // namespace

// select, pselect6 and ppoll are not here: the kernel writes the time left back by itself.
Resumable::Resumable(int64_t nr, const uint64_t args[6]) : nr_(nr), args_(args) {
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
    case SYS_recvmmsg: is(args[4] != 0 ? Unit::kTimespecBack : Unit::kReceive, args[4] != 0 ? 4 : 0); break;
    case SYS_poll: is(Unit::kMilliseconds, 2); break;
    case SYS_epoll_wait: case SYS_epoll_pwait: is(Unit::kMilliseconds, 3); break;
    case SYS_read: case SYS_readv: case SYS_recvfrom: case SYS_recvmsg: case SYS_accept: case SYS_accept4:
      is(Unit::kReceive, 0);
      break;
    case SYS_write: case SYS_writev: case SYS_sendto: case SYS_sendmsg: case SYS_sendmmsg: case SYS_connect:
      is(Unit::kSend, 0);
      break;
    default: return;
  }
  if (unit_ == Unit::kTimespec && args[index_] == 0) unit_ = Unit::kNone;  // no limit
  if (unit_ == Unit::kMilliseconds && static_cast<int>(args[index_]) <= 0) unit_ = Unit::kNone;
  if (unit_ != Unit::kNone) start_ = now_ns();
}

timespec Resumable::left_of(const timespec& limit) const {
  const int64_t elapsed = now_ns() - start_;
  const int64_t nanoseconds = limit.tv_nsec - elapsed % kSecond;
  timespec left{};
  left.tv_sec = limit.tv_sec - elapsed / kSecond - (nanoseconds < 0);
  left.tv_nsec = nanoseconds < 0 ? nanoseconds + kSecond : nanoseconds;
  return left.tv_sec < 0 ? timespec{} : left;
}

int64_t Resumable::await_socket(volatile sig_atomic_t* captured) {
  if (unit_ != Unit::kReceive && unit_ != Unit::kSend) return 0;
  const bool receives = unit_ == Unit::kReceive;
  timeval limit{};
  socklen_t size = sizeof limit;
  const int64_t found = host_syscall(SYS_getsockopt, args_[0], SOL_SOCKET, receives ? SO_RCVTIMEO : SO_SNDTIMEO,
                                     address(&limit), address(&size));
  if (found != 0 || (limit.tv_sec == 0 && limit.tv_usec == 0)) return 0;  // no socket, or no limit
  timespec left = left_of({limit.tv_sec, limit.tv_usec * 1000});
  pollfd socket{static_cast<int>(args_[0]), static_cast<short>(receives ? POLLIN : POLLOUT), 0};
  const uint64_t wait[6] = {address(&socket), 1, address(&left), 0, 0, 0};
  const int64_t ready = km_forward(captured, SYS_ppoll, wait);
  if (ready > 0) return 0;
  if (ready < 0) return -EINTR;
  return nr_ == SYS_connect ? -EINPROGRESS : -EAGAIN;  // socket(7), SO_RCVTIMEO
}

const uint64_t* Resumable::again() {
  if (unit_ == Unit::kNone || unit_ == Unit::kReceive || unit_ == Unit::kSend) return args_;
  memcpy(changed_, args_, sizeof changed_);
  if (unit_ == Unit::kMilliseconds) {
    const int64_t left = static_cast<int>(args_[index_]) - (now_ns() - start_) / 1'000'000;
    changed_[index_] = static_cast<uint64_t>(left > 0 ? left : 0);
    return changed_;
  }
  timespec wanted;
  if (copy_from_guest(&wanted, args_[index_], sizeof wanted) != 0) return args_;
  left_ = left_of(wanted);
  if (unit_ == Unit::kTimespecBack) {
    // The kernel writes the rest of the time there too (recvmmsg(2)); the next attempt counts from now.
    if (copy_to_guest(args_[index_], &left_, sizeof left_) == 0) start_ = now_ns();
    return args_;
  }
  changed_[index_] = address(&left_);
  return changed_;
}

}  // namespace km
