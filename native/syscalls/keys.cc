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
    uint64_t safe[6] = {args[0], args[1], args[2], args[3], args[4], 0};
    for (unsigned i = 1; i <= 4; i++) {
      const char kind = command.args[i - 1];
      if (kind == 's') safe[i] = safe_pointer(args[i]);
      if (kind == 'b') safe[i] = safe_range(args[i], args[i + 1]);
    }
    return forward_syscall(thread, SYS_keyctl, safe);
  }
  log_refused_once("keyctl command", static_cast<uint32_t>(args[0]));
  return -EOPNOTSUPP;
}

}  // namespace km
