// SPDX-License-Identifier: Apache-2.0
// A payload thread: one vCPU, one host thread, one host tid (gettid() of the payload is the host's).
#pragma once

#include <sys/types.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <memory>

#include "native/driver/driver.h"

namespace km {

class Process;

/// Linux's internal "restart after the handler" code; never reaches the payload.
constexpr int64_t kRestartCall = -512;

/// Altstack as sigaltstack(2) keeps it.
struct AltStack {
  uint64_t sp = 0, size = 0;
  uint32_t flags = 2;  // SS_DISABLE
};

struct GuestThread {
  Process* process = nullptr;
  std::unique_ptr<Vcpu> vcpu;
  pid_t tid = 0;
  uint64_t clear_child_tid = 0;  ///< guest address zeroed and woken at thread exit, or 0
  AltStack altstack;

  // Written by the host signal handler of this very thread, read by its run loop.
  volatile sig_atomic_t signal_captured = 0;
  siginfo_t captured{};
  sigset_t mask_at_capture{};
  bool mask_saved = false;        ///< sigsuspend & co.: restore `saved_mask` after delivery
  uint64_t saved_mask = 0;

  bool exiting = false;           ///< leave the run loop
  bool regs_replaced = false;     ///< a handler (sigreturn, exec) set all registers itself: do not store a result
};

/// The calling host thread's payload thread (nullptr outside vCPU threads).
GuestThread* current_thread();

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

}  // namespace km
