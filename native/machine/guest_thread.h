// SPDX-License-Identifier: Apache-2.0
// A payload thread: one vCPU, one host thread, one host tid (gettid() of the payload is the host's).
#pragma once

#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <memory>

#include "native/driver/driver.h"

namespace km {

class Process;
struct SignalTable;  // native/machine/signals.h

/// Linux's internal "restart after the handler" code; never reaches the payload.
constexpr int64_t kRestartCall = -512;

/// Altstack as sigaltstack(2) keeps it. Flags are the kernel's sas_ss_flags: 0 after exec, SS_DISABLE in new threads.
struct AltStack {
  uint64_t sp = 0, size = 0;
  uint32_t flags = 0;
};

/// A signal the host delivered to this thread and the payload has not seen yet. At most one: the host handler leaves
/// every other signal blocked until it is dealt with, so queues and priorities stay the host kernel's business.
struct CapturedSignal {
  volatile sig_atomic_t signo = 0;  ///< 0: none
  siginfo_t info{};
};

struct GuestThread {
  Process* process = nullptr;
  std::unique_ptr<Vcpu> vcpu;
  pid_t tid = 0;
  uint64_t clear_child_tid = 0;  ///< guest address zeroed and woken at thread exit, or 0
  uint64_t robust_list = 0;      ///< guest address of the robust list head, or 0; walked by the monitor
  AltStack altstack;

  CapturedSignal captured;
  uint64_t sigmask = 0;          ///< the payload's blocked signals, bit n-1 for signal n
  uint64_t wait_mask = 0;        ///< mask while sigsuspend/ppoll/... waits, valid when in_masked_wait
  bool in_masked_wait = false;
  siginfo_t deferred[2]{};       ///< SIGSEGV and SIGBUS sent while blocked (the host never blocks these two)

  uint64_t hypercall_block = 0;  ///< address of the argument block while a direct `out` call is served, else 0
  bool exiting = false;          ///< leave the run loop
  bool regs_replaced = false;    ///< the call set all registers itself (sigreturn): store no result
  bool vfork_child = false;      ///< runs on its parent's memory and vCPU
  SignalTable* own_actions = nullptr;  ///< a vfork child's dispositions, which its parent's threads do not have
};

/// The calling host thread's payload thread (nullptr outside vCPU threads).
GuestThread* current_thread();
void set_current_thread(GuestThread* thread);

/// Runs the payload on the calling host thread until the thread exits.
void run_thread(GuestThread& thread);

/// Issues a host system call on behalf of the payload so that a signal that arrives before or while it blocks makes
/// it return: -EINTR when Linux would say so, kRestartCall when Linux would restart it. Else the result or -errno.
int64_t forward_syscall(GuestThread& thread, int64_t nr, const uint64_t args[6]);

/// Plain host system call; result or -errno, errno untouched.
int64_t host_syscall(int64_t nr, uint64_t a0 = 0, uint64_t a1 = 0, uint64_t a2 = 0, uint64_t a3 = 0,
                     uint64_t a4 = 0, uint64_t a5 = 0);

/// Copies between monitor and payload memory; -EFAULT when the range leaves the window or is not accessible there.
int copy_from_guest(void* to, uint64_t from, size_t len);
int copy_to_guest(uint64_t to, const void* from, size_t len);
/// Copies a NUL-terminated string; returns its length, -EFAULT, or -ENAMETOOLONG when `size` is too small.
int64_t copy_string_from_guest(char* to, uint64_t from, size_t size);

/// Ends the process as exit_group(2) does; prints what was asked for at exit.
[[noreturn]] void exit_process(int status);

/// For a thread that finds the process ending: another thread ends it.
[[noreturn]] void wait_for_the_end();

/// The machine itself failed (not the payload): one line, exit status kMachineFailure.
[[noreturn]] void fail_machine(const char* why, uint32_t detail);

/// Exit statuses of km itself (kontain-facts: usage 1, bad program 2).
constexpr int kExitUsage = 1, kExitBadProgram = 2, kExitMachineFailure = 3;

}  // namespace km
