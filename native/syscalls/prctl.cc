// SPDX-License-Identifier: Apache-2.0
// prctl(2): the options that are safe, with what their arguments are. Everything else would act on the monitor.
#include <errno.h>
#include <linux/prctl.h>
#include <sys/syscall.h>

#include <algorithm>

#include "native/syscalls/allowed.h"
#include "native/syscalls/internal.h"

// Younger than Debian 12's headers (linux/prctl.h).
#ifndef PR_GET_AUXV
#define PR_GET_AUXV 0x41555856
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif
#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

namespace km {
namespace {

enum class Argument : uint8_t { kNumber, kPointer };  // arg2: a number, or an address of at most 16 bytes

struct Option {
  int option;
  Argument arg2;
};

constexpr Option kOptions[] = {
    {PR_SET_PDEATHSIG, Argument::kNumber},
    {PR_GET_PDEATHSIG, Argument::kPointer},
    {PR_GET_DUMPABLE, Argument::kNumber},
    {PR_SET_DUMPABLE, Argument::kNumber},
    {PR_GET_KEEPCAPS, Argument::kNumber},
    {PR_SET_KEEPCAPS, Argument::kNumber},
    {PR_GET_TIMING, Argument::kNumber},
    {PR_SET_TIMING, Argument::kNumber},
    {PR_SET_NAME, Argument::kPointer},
    {PR_GET_NAME, Argument::kPointer},
    {PR_GET_SECCOMP, Argument::kNumber},
    {PR_CAPBSET_READ, Argument::kNumber},
    {PR_CAPBSET_DROP, Argument::kNumber},
    {PR_GET_TSC, Argument::kPointer},
    {PR_GET_SECUREBITS, Argument::kNumber},
    {PR_SET_SECUREBITS, Argument::kNumber},
    {PR_SET_TIMERSLACK, Argument::kNumber},
    {PR_GET_TIMERSLACK, Argument::kNumber},
    {PR_MCE_KILL, Argument::kNumber},
    {PR_MCE_KILL_GET, Argument::kNumber},
    {static_cast<int>(PR_SET_PTRACER), Argument::kNumber},
    {PR_SET_CHILD_SUBREAPER, Argument::kNumber},
    {PR_GET_CHILD_SUBREAPER, Argument::kPointer},
    {PR_SET_NO_NEW_PRIVS, Argument::kNumber},
    {PR_GET_NO_NEW_PRIVS, Argument::kNumber},
    {PR_SET_THP_DISABLE, Argument::kNumber},
    {PR_GET_THP_DISABLE, Argument::kNumber},
    {PR_CAP_AMBIENT, Argument::kNumber},
    {PR_GET_SPECULATION_CTRL, Argument::kNumber},
    {PR_SET_SPECULATION_CTRL, Argument::kNumber},
    {PR_SET_IO_FLUSHER, Argument::kNumber},
    {PR_GET_IO_FLUSHER, Argument::kNumber},
    {PR_GET_MDWE, Argument::kNumber},
    {PR_SET_MEMORY_MERGE, Argument::kNumber},
    {PR_GET_MEMORY_MERGE, Argument::kNumber},
};

/// The payload's own vector: the host's describes the monitor.
int64_t get_auxv(const uint64_t args[6]) {
  if (args[3] != 0 || args[4] != 0) return -EINVAL;
  const std::vector<uint64_t>& auxv = process().auxv;
  const uint64_t size = auxv.size() * sizeof(uint64_t);
  if (int error = copy_to_guest(args[1], auxv.data(), std::min(size, args[2])); error != 0) return error;
  return static_cast<int64_t>(size);
}

/// Names a range of anonymous memory: (PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, len, name).
int64_t set_vma(GuestThread& thread, const uint64_t args[6]) {
  constexpr uint64_t kAnonName = 0;
  if (args[1] != kAnonName) return -EINVAL;
  if (!process().memory->in_window(args[2], args[3])) return -ENOMEM;
  return forward(thread, SYS_prctl, args[0], args[1], args[2], args[3], safe_pointer(args[4]));
}

}  // namespace

std::vector<int> prctl_options() {
  std::vector<int> options{PR_SET_VMA};
  for (const Option& known : kOptions) options.push_back(known.option);
  return options;
}

int64_t sys_prctl(GuestThread& thread, const uint64_t args[6]) {
  const int option = static_cast<int>(args[0]);
  if (option == PR_GET_TID_ADDRESS) return copy_to_guest(args[1], &thread.clear_child_tid, sizeof(uint64_t));
  if (option == PR_GET_AUXV) return get_auxv(args);
  if (option == PR_SET_VMA) return set_vma(thread, args);
  for (const Option& known : kOptions) {
    if (known.option != option) continue;
    const uint64_t arg2 = known.arg2 == Argument::kPointer ? safe_pointer(args[1]) : args[1];
    return forward(thread, SYS_prctl, args[0], arg2, args[2], args[3], args[4]);
  }
  log_refused_once("prctl option", static_cast<uint32_t>(option));
  return -EINVAL;
}

}  // namespace km
