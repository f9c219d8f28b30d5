// SPDX-License-Identifier: Apache-2.0
// Linux's x86-64 system calls as the payload sees them. One line per call in table.def; everything else is generated.
#pragma once

#include <cstdint>

#include "native/machine/guest_thread.h"

namespace km {

/// A virtualised call. Returns the result, -errno, or kRestartCall.
using SyscallHandler = int64_t (*)(GuestThread& thread, const uint64_t args[6]);

/// Answers system call `nr`: checks descriptors and pointers by the table, forwards or handles, traces, counts.
/// Unknown or refused calls give -ENOSYS (or -EPERM where noted) and name themselves once on the log.
int64_t dispatch_syscall(GuestThread& thread, uint64_t nr, const uint64_t args[6]);

/// Name of a system call ("read"), or nullptr when Linux has none of that number.
const char* syscall_name(uint64_t nr);

/// Opens the monitor's handle on /proc unless it is open. Before a child that shares memory but not descriptors is made:
/// what such a child opened would be remembered here under a number that means nothing here.
void hold_proc();

// Handlers that live with the machine (native/machine/process.cc, signals.cc), not in this folder's groups.
int64_t sys_clone(GuestThread&, const uint64_t args[6]);
int64_t sys_clone3(GuestThread&, const uint64_t args[6]);
int64_t sys_fork(GuestThread&, const uint64_t args[6]);
int64_t sys_vfork(GuestThread&, const uint64_t args[6]);
int64_t sys_execve(GuestThread&, const uint64_t args[6]);
int64_t sys_execveat(GuestThread&, const uint64_t args[6]);
int64_t sys_exit(GuestThread&, const uint64_t args[6]);
int64_t sys_exit_group(GuestThread&, const uint64_t args[6]);
int64_t sys_set_tid_address(GuestThread&, const uint64_t args[6]);
int64_t sys_arch_prctl(GuestThread&, const uint64_t args[6]);
int64_t sys_rt_sigaction(GuestThread&, const uint64_t args[6]);
int64_t sys_rt_sigprocmask(GuestThread&, const uint64_t args[6]);
int64_t sys_rt_sigreturn(GuestThread&, const uint64_t args[6]);
int64_t sys_rt_sigpending(GuestThread&, const uint64_t args[6]);
int64_t sys_rt_sigsuspend(GuestThread&, const uint64_t args[6]);
int64_t sys_rt_sigtimedwait(GuestThread&, const uint64_t args[6]);
int64_t sys_sigaltstack(GuestThread&, const uint64_t args[6]);
int64_t sys_pause(GuestThread&, const uint64_t args[6]);
int64_t sys_ppoll(GuestThread&, const uint64_t args[6]);      // these four change the mask while they wait
int64_t sys_pselect6(GuestThread&, const uint64_t args[6]);
int64_t sys_epoll_pwait(GuestThread&, const uint64_t args[6]);
int64_t sys_epoll_pwait2(GuestThread&, const uint64_t args[6]);

}  // namespace km
