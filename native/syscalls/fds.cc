// SPDX-License-Identifier: Apache-2.0
// Descriptor numbers. The payload's are the host's; the monitor's own are hidden (native/base/private_fd.h).
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <iterator>

#include "native/base/fd_copies.h"
#include "native/base/private_fd.h"
#include "native/syscalls/internal.h"
#include "native/syscalls/waiting.h"

namespace km {
namespace {

/// The end of every call that closes descriptors.
int64_t closing(int64_t result) {
  fd_copy_wait();
  return result;
}

}  // namespace

int64_t sys_close(GuestThread& thread, const uint64_t args[6]) { return closing(forward_syscall(thread, SYS_close, args)); }
int64_t sys_dup2(GuestThread& thread, const uint64_t args[6]) { return closing(forward_syscall(thread, SYS_dup2, args)); }
int64_t sys_dup3(GuestThread& thread, const uint64_t args[6]) { return closing(forward_syscall(thread, SYS_dup3, args)); }

int64_t sys_close_range(GuestThread&, const uint64_t args[6]) {
  unsigned first = static_cast<unsigned>(args[0]);
  const unsigned last = static_cast<unsigned>(args[1]);
  unsigned flags = static_cast<unsigned>(args[2]);
  if (first > last) return -EINVAL;
  // In pieces around the monitor's descriptors.
  for (;;) {
    const int hidden = next_private_fd(first);
    const unsigned stop = hidden >= 0 && static_cast<unsigned>(hidden) <= last ? static_cast<unsigned>(hidden) : last;
    const bool at_hidden = hidden >= 0 && static_cast<unsigned>(hidden) == stop;
    if (!at_hidden || stop > first) {
      int64_t result = host_syscall(SYS_close_range, first, at_hidden ? stop - 1 : stop, flags);
      if (result < 0) return result;
      flags &= ~static_cast<unsigned>(CLOSE_RANGE_UNSHARE);  // the table is this thread's own from here on
    }
    if (!at_hidden || stop == last) return closing(0);
    first = stop + 1;
  }
}

namespace {

// fcntl(2), linux/fcntl.h, asm-generic/fcntl.h.
struct FcntlCommand {
  int cmd;
  bool pointer;  ///< the argument is the address of a small structure; else a number or ignored
};

constexpr int kGetOwnerUids = 17, kCreatedQuery = 1028, kDupfdQuery = 1027, kGetDelegation = 1039, kSetDelegation = 1040;

constexpr FcntlCommand kFcntlCommands[] = {
    {F_DUPFD, false},        {F_DUPFD_CLOEXEC, false}, {F_GETFD, false},        {F_SETFD, false},           {F_GETFL, false},
    {F_SETFL, false},        {F_GETLK, true},        {F_SETLK, true},       {F_SETLKW, true},         {F_SETOWN, false},
    {F_GETOWN, false},       {F_SETSIG, false},        {F_GETSIG, false},       {F_SETOWN_EX, true},       {F_GETOWN_EX, true},
    {kGetOwnerUids, true},  {F_OFD_GETLK, true},    {F_OFD_SETLK, true},   {F_OFD_SETLKW, true},     {F_SETLEASE, false},
    {F_GETLEASE, false},     {F_NOTIFY, false},        {F_SETPIPE_SZ, false},   {F_GETPIPE_SZ, false},      {F_ADD_SEALS, false},
    {F_GET_SEALS, false},    {F_GET_RW_HINT, true},   {F_SET_RW_HINT, true},  {F_GET_FILE_RW_HINT, true}, {F_SET_FILE_RW_HINT, true},
    {kCreatedQuery, false},  {kGetDelegation, true},  {kSetDelegation, true},
};

}  // namespace

int64_t sys_fcntl(GuestThread& thread, const uint64_t args[6]) {
  const int cmd = static_cast<int>(args[1]);
  if (cmd == kDupfdQuery && is_private_fd(static_cast<int>(args[2]))) return -EBADF;
  if (cmd == kDupfdQuery) return forward_syscall(thread, SYS_fcntl, args);
  for (const FcntlCommand& known : kFcntlCommands) {
    if (known.cmd != cmd) continue;
    return forward(thread, SYS_fcntl, args[0], args[1], known.pointer ? safe_pointer(args[2]) : args[2]);
  }
  log_refused_once("fcntl command", static_cast<uint32_t>(cmd));
  return -EINVAL;
}

// --- descriptors inside arrays and sets ------------------------------------------------------------------------------

bool PolledFds::load(uint64_t addr, uint64_t count) {
  constexpr int kNoDescriptor = 0x7fffffff;
  addr_ = addr;
  if (count > kMost) return false;
  copied_.resize(count);
  if (count != 0 && copy_from_guest(copied_.data(), addr, count * sizeof(pollfd)) != 0) return false;
  for (pollfd& entry : copied_)
    if (is_private_fd(entry.fd)) entry.fd = kNoDescriptor;
  readable_ = true;
  return true;
}

uint64_t PolledFds::address() const { return readable_ ? word(copied_.data()) : kNowhere; }

int64_t PolledFds::store(int64_t result) const {
  for (size_t i = 0; result >= 0 && i < copied_.size(); i++) {
    const uint64_t at = addr_ + i * sizeof(pollfd) + offsetof(pollfd, revents);
    if (int error = copy_to_guest(at, &copied_[i].revents, sizeof(copied_[i].revents)); error != 0) return error;
  }
  return result;
}

int64_t sys_poll(GuestThread& thread, const uint64_t args[6]) {
  PolledFds fds;
  fds.load(args[0], static_cast<uint32_t>(args[1]));
  return fds.store(forward(thread, SYS_poll, fds.address(), args[1], args[2]));
}

bool selects_private_fd(const uint64_t args[6]) {
  const int n = static_cast<int>(args[0]);
  for (int fd = next_private_fd(0); fd >= 0 && fd < n; fd = next_private_fd(static_cast<unsigned>(fd) + 1)) {
    for (unsigned set = 1; set <= 3; set++) {
      uint8_t byte = 0;
      const uint64_t at = args[set] + static_cast<unsigned>(fd) / 8;
      if (args[set] != 0 && copy_from_guest(&byte, at, 1) == 0 && (byte >> (fd % 8) & 1)) return true;
    }
  }
  return false;
}

int64_t sys_select(GuestThread& thread, const uint64_t args[6]) {
  return selects_private_fd(args) ? -EBADF : forward_syscall(thread, SYS_select, args);
}

}  // namespace km
