// SPDX-License-Identifier: Apache-2.0
// Descriptor numbers. The payload's are the host's; the monitor's own are hidden (native/base/private_fd.h).
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <iterator>

#include "native/base/fd_copies.h"
#include "native/base/private_fd.h"
#include "native/syscalls/internal.h"

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

}  // namespace km
