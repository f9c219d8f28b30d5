// SPDX-License-Identifier: Apache-2.0
// Signals: the host kernel queues, masks and chooses; the monitor catches what it delivers and hands it on.
//
// Dispositions and masks of the payload are mirrored on the host, so default actions, job control, signalfd,
// sigtimedwait, SIGCHLD and restarts behave as on Linux because they are Linux. Only SIGSEGV and SIGBUS stay unblocked
// on the host: the monitor's own copies of payload memory fault.
#pragma once

#include <csignal>
#include <cstdint>

#include "native/machine/guest_thread.h"

namespace km {

/// Kernel layout of struct sigaction on x86-64 (man 2 rt_sigaction).
struct KernelSigaction {
  uint64_t handler = 0, flags = 0, restorer = 0, mask = 0;
};

constexpr int kSignals = 64;

/// Dispositions. A vfork child has a copy (GuestThread::own_actions): it shares the monitor's memory, not these.
struct SignalTable {
  KernelSigaction action[kSignals + 1];
  bool known[kSignals + 1] = {};
};
/// The calling thread's.
SignalTable& signal_table();

/// Smallest alternate stack (man 2 sigaltstack). Not MINSIGSTKSZ: libc's asks the processor, Linux does not.
constexpr uint64_t kSmallestAltStack = 2048;

/// Installs the monitor's SIGSEGV/SIGBUS handlers; the main thread inherits the host's mask.
void init_signals(GuestThread& main_thread);

/// CLONE_CLEAR_SIGHAND (man 2 clone): every signal with a handler gets its default action; ignored ones stay ignored.
void clear_handlers();

/// Sets the host mask to the payload's (`mask`), or blocks everything deliverable.
void apply_host_mask(uint64_t mask);
void block_all_signals();

/// Hands a captured signal to the payload, or acts by default. Call before every entry.
void deliver_captured(GuestThread& thread);

/// A fault of the payload itself (SIGSEGV, SIGFPE...).
struct Fault {
  int signo = 0, code = 0;
  uint64_t address = 0;
  uint64_t trapno = 0, error = 0, cr2 = 0;
};
void deliver_fault(GuestThread& thread, const Fault& fault);

/// True when a signal waits for the payload.
inline bool signal_waiting(const GuestThread& thread) { return thread.captured.signo != 0; }

/// Builds the frame (signal_frame.cc). False: the stack is not writable.
struct Delivery {
  const KernelSigaction* action;
  const siginfo_t* info;
  int signo;
  uint64_t old_mask;
  uint64_t trapno, error, cr2;
};
bool push_signal_frame(GuestThread& thread, const Delivery& delivery);
/// Undoes it. False: the frame is bad (the payload dies of SIGSEGV as on Linux).
bool pop_signal_frame(GuestThread& thread, uint64_t frame);

}  // namespace km
