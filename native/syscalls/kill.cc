// SPDX-License-Identifier: Apache-2.0
// kill(2) where the driver keeps a process of its own (KKM's companion), which does not exist for the payload. The host
// would count it among "all processes", and a SIGKILL or SIGSTOP to all would end or stop the sender's own machine.
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "native/syscalls/internal.h"

namespace km {
namespace {

constexpr int kHighestSignal = 64;
constexpr int kMostPasses = 100;  // against processes that are born as fast as they are killed

/// What a broadcast has done so far.
struct Broadcast {
  int signal;
  pid_t self, helper;
  std::vector<pid_t> tried;
  int64_t result = 0;  // as Linux has it: 0, or the last error that is not EPERM

  /// Signals `pid` unless that was done. Returns whether it was new.
  bool offer(pid_t pid) {
    if (pid <= 1 || pid == self || pid == helper) return false;
    if (std::find(tried.begin(), tried.end(), pid) != tried.end()) return false;
    tried.push_back(pid);
    if (kill(pid, signal) != 0 && errno != EPERM && errno != ESRCH) result = -errno;
    return true;
  }
};

/// kill(-1, signal) without `helper`. Linux does it in one step; here it is done until a look at /proc shows nobody new.
/// Without a /proc the helper is not spared.
int64_t signal_all(int signal, pid_t helper) {
  if (signal < 0 || signal > kHighestSignal) return -EINVAL;
  Broadcast broadcast{.signal = signal, .self = getpid(), .helper = helper, .tried = {}};
  bool found = true;
  for (int pass = 0; found && pass < kMostPasses; pass++) {
    found = false;
    DIR* processes = opendir("/proc");
    if (processes == nullptr) return kill(-1, signal) == 0 ? 0 : -errno;
    while (const dirent* entry = readdir(processes)) found |= broadcast.offer(atoi(entry->d_name));
    closedir(processes);
  }
  return broadcast.tried.empty() ? -ESRCH : broadcast.result;
}

}  // namespace

int64_t sys_kill(GuestThread& thread, const uint64_t args[6]) {
  const pid_t pid = static_cast<pid_t>(args[0]), helper = process().machine->helper();
  if (helper <= 0) return forward_syscall(thread, SYS_kill, args);
  if (pid == -1) return signal_all(static_cast<int>(args[1]), helper);
  if (pid == helper || pid == -helper) return -ESRCH;  // of its own process group, too
  return forward_syscall(thread, SYS_kill, args);
}

}  // namespace km
