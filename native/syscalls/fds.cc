// SPDX-License-Identifier: Apache-2.0
// Descriptor numbers. The payload's are the host's; the monitor's own are hidden (native/base/private_fd.h).
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <iterator>

#include "native/base/private_fd.h"
#include "native/syscalls/internal.h"

namespace km {

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
    if (!at_hidden || stop == last) return 0;
    first = stop + 1;
  }
}

namespace {

// Commands and sizes: fcntl(2), linux/fcntl.h, asm-generic/fcntl.h.
struct FcntlCommand {
  int cmd;
  unsigned pointer_size;  ///< 0: the argument is a number or ignored
};

constexpr int kGetOwnerUids = 17, kCreatedQuery = 1028, kDupfdQuery = 1027, kGetDelegation = 1039, kSetDelegation = 1040;

constexpr FcntlCommand kFcntlCommands[] = {
    {F_DUPFD, 0},        {F_DUPFD_CLOEXEC, 0}, {F_GETFD, 0},        {F_SETFD, 0},           {F_GETFL, 0},
    {F_SETFL, 0},        {F_GETLK, 32},        {F_SETLK, 32},       {F_SETLKW, 32},         {F_SETOWN, 0},
    {F_GETOWN, 0},       {F_SETSIG, 0},        {F_GETSIG, 0},       {F_SETOWN_EX, 8},       {F_GETOWN_EX, 8},
    {kGetOwnerUids, 8},  {F_OFD_GETLK, 32},    {F_OFD_SETLK, 32},   {F_OFD_SETLKW, 32},     {F_SETLEASE, 0},
    {F_GETLEASE, 0},     {F_NOTIFY, 0},        {F_SETPIPE_SZ, 0},   {F_GETPIPE_SZ, 0},      {F_ADD_SEALS, 0},
    {F_GET_SEALS, 0},    {F_GET_RW_HINT, 8},   {F_SET_RW_HINT, 8},  {F_GET_FILE_RW_HINT, 8}, {F_SET_FILE_RW_HINT, 8},
    {kCreatedQuery, 0},  {kGetDelegation, 8},  {kSetDelegation, 8},
};

}  // namespace

int64_t sys_fcntl(GuestThread& thread, const uint64_t args[6]) {
  const int cmd = static_cast<int>(args[1]);
  if (cmd == kDupfdQuery && is_private_fd(static_cast<int>(args[2]))) return -EBADF;
  if (cmd == kDupfdQuery) return forward_syscall(thread, SYS_fcntl, args);
  for (const FcntlCommand& known : kFcntlCommands) {
    if (known.cmd != cmd) continue;
    if (known.pointer_size != 0 && !guest_pointer(args[2])) return -EFAULT;
    return forward_syscall(thread, SYS_fcntl, args);
  }
  log_refused_once("fcntl command", static_cast<uint32_t>(cmd));
  return -EINVAL;
}

}  // namespace km
