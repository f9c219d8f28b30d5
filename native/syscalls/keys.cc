// SPDX-License-Identifier: Apache-2.0
// keyctl(2): which arguments of each command are addresses, and how much lies behind them.
#include <errno.h>
#include <linux/keyctl.h>
#include <sys/syscall.h>

#include "native/syscalls/internal.h"

namespace km {
namespace {

// One letter for each of the four arguments behind the command: n number, s text or a structure below 1 MiB,
// b buffer whose length is the next argument, . unused.
struct Command {
  int cmd;
  const char* args;
};

constexpr Command kCommands[] = {
    {KEYCTL_GET_KEYRING_ID, "nn.."},    {KEYCTL_JOIN_SESSION_KEYRING, "s..."}, {KEYCTL_UPDATE, "nbn."},
    {KEYCTL_REVOKE, "n..."},            {KEYCTL_CHOWN, "nnn."},                {KEYCTL_SETPERM, "nn.."},
    {KEYCTL_DESCRIBE, "nbn."},          {KEYCTL_CLEAR, "n..."},                {KEYCTL_LINK, "nn.."},
    {KEYCTL_UNLINK, "nn.."},            {KEYCTL_SEARCH, "nssn"},               {KEYCTL_READ, "nbn."},
    {KEYCTL_INSTANTIATE, "nbnn"},       {KEYCTL_NEGATE, "nnn."},               {KEYCTL_SET_REQKEY_KEYRING, "n..."},
    {KEYCTL_SET_TIMEOUT, "nn.."},       {KEYCTL_ASSUME_AUTHORITY, "n..."},     {KEYCTL_GET_SECURITY, "nbn."},
    {KEYCTL_SESSION_TO_PARENT, "...."}, {KEYCTL_REJECT, "nnnn"},               {KEYCTL_INVALIDATE, "n..."},
    {KEYCTL_GET_PERSISTENT, "nn.."},    {KEYCTL_RESTRICT_KEYRING, "nss."},     {KEYCTL_MOVE, "nnnn"},
    {KEYCTL_CAPABILITIES, "bn.."},
};

}  // namespace

int64_t sys_keyctl(GuestThread& thread, const uint64_t args[6]) {
  for (const Command& command : kCommands) {
    if (command.cmd != static_cast<int>(args[0])) continue;
    for (unsigned i = 0; i < 4; i++) {
      const uint64_t value = args[i + 1];
      if (command.args[i] == 's' && !guest_pointer(value)) return -EFAULT;
      if (command.args[i] == 'b' && !guest_range(value, args[i + 2])) return -EFAULT;
    }
    return forward_syscall(thread, SYS_keyctl, args);
  }
  log_refused_once("keyctl command", static_cast<uint32_t>(args[0]));
  return -EOPNOTSUPP;
}

}  // namespace km
