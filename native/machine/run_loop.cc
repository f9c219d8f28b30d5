// SPDX-License-Identifier: Apache-2.0
// One payload thread: enter, see why it left, answer, enter again.
#include <errno.h>
#include <string.h>

#include "native/base/log.h"
#include "native/machine/exceptions.h"
#include "native/machine/process.h"
#include "native/machine/signals.h"
#include "native/manage/manage.h"
#include "native/manage/report.h"
#include "native/syscalls/syscalls.h"

namespace km {
namespace {

// Initial-exec TLS of a static executable: safe to read in a signal handler.
thread_local GuestThread* this_thread = nullptr;

constexpr uint64_t kSyscallBytes = 2, kOutBytes = 1;

/// Argument block of a direct `out` hypercall (payload ABI of the original: result, then arguments 1..6).
struct HypercallBlock {
  int64_t result;
  uint64_t args[6];
};
static_assert(sizeof(HypercallBlock) == 56);

void serve_syscall(GuestThread& t) {
  Regs& r = t.vcpu->regs();
  const uint64_t args[6] = {r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9};
  int64_t result = dispatch_syscall(t, r.rax, args);
  if (t.exiting) return;
  if (t.regs_replaced) {
    t.regs_replaced = false;
    return;
  }
  if (result == kRestartCall) {
    t.vcpu->regs().rip -= kSyscallBytes;  // rax still holds the number
    return;
  }
  t.vcpu->regs().rax = static_cast<uint64_t>(result);
}

void serve_hypercall(GuestThread& t, unsigned number) {
  uint64_t block_address = 0;
  HypercallBlock block;
  uint64_t gs = t.vcpu->bases().gs;
  bool located = gs == t.vcpu->cell_address();
  if (located) block_address = *t.vcpu->cell();
  else if (copy_from_guest(&block_address, gs, sizeof block_address) != 0) block_address = 0;
  if (copy_from_guest(&block, block_address, sizeof block) != 0) {
    deliver_fault(t, Fault{.signo = SIGSEGV, .code = SEGV_MAPERR, .address = block_address});
    return;
  }
  t.hypercall_block = block_address;
  int64_t result = dispatch_syscall(t, number, block.args);
  t.hypercall_block = 0;
  if (t.exiting) return;
  if (t.regs_replaced) {
    t.regs_replaced = false;
    return;
  }
  if (result == kRestartCall) {
    t.vcpu->settle();
    t.vcpu->regs().rip -= kOutBytes;
    return;
  }
  if (copy_to_guest(block_address, &result, sizeof result) != 0) {
    deliver_fault(t, Fault{.signo = SIGSEGV, .code = SEGV_ACCERR, .address = block_address});
  }
}

void serve_io(GuestThread& t, const Exit& exit) {
  unsigned number = exit.port - unsigned{kHypercallPort};
  if (!exit.is_in && exit.size == 4 && exit.count == 1 && number < kHypercallCount) {
    serve_hypercall(t, number);
    return;
  }
  // Near the hypercall ports the payload tried to call and erred; elsewhere `in`/`out` is what Linux forbids.
  bool near_miss = exit.port >= kHypercallPort - 0x100 && exit.port < kHypercallPort + 0x800;
  deliver_fault(t, near_miss ? Fault{.signo = SIGBUS, .code = BUS_ADRERR, .address = exit.port}
                             : Fault{.signo = SIGSEGV, .code = SI_KERNEL, .trapno = 13});
}

void serve_memory_fault(GuestThread& t, const Exit& exit) {
  FaultVerdict verdict = t.process->memory->memory_fault(exit.address);
  if (verdict.signo == 0) return;
  deliver_fault(t, Fault{.signo = verdict.signo, .code = verdict.code, .address = verdict.address, .trapno = 14});
}

/// A forked machine's first entry needs a second task, and its parent has long been told that the fork went well.
[[noreturn]] void fail_without_task() {
  constexpr char kWhy[] = "no room for a task of KVM's own beside the process: raise RLIMIT_NPROC (ulimit -u) or pids.max";
  complain("%s: %s", process().exe_path.c_str(), kWhy);
  report_failure(kExitMachineFailure, kWhy);
  exit_process(kExitMachineFailure);
}

void serve(GuestThread& t, const Exit& exit) {
  switch (exit.kind) {
    case ExitKind::kSyscall: return serve_syscall(t);
    case ExitKind::kIo: return serve_io(t, exit);
    case ExitKind::kException: return serve_exception(t, exit);
    case ExitKind::kMemoryFault: return serve_memory_fault(t, exit);
    case ExitKind::kInterrupted: return;
    case ExitKind::kShutdown: fail_machine("the virtual CPU shut down", exit.detail);
    case ExitKind::kFailed:
      if (exit.detail == EAGAIN) fail_without_task();
      fail_machine("the device could not run the payload", exit.detail);
  }
}

}  // namespace

GuestThread* current_thread() { return this_thread; }
void set_current_thread(GuestThread* thread) { this_thread = thread; }

void run_thread(GuestThread& thread) {
  while (!thread.exiting) {
    if (manage_called()) {
      thread.vcpu->unkick();  // before the check below: a signal captured meanwhile kicks again
      manage_answer();
    }
    if (signal_waiting(thread)) deliver_captured(thread);
    serve(thread, thread.vcpu->run());
  }
}

void fail_machine(const char* why, uint32_t detail) {
  if (process().ending) wait_for_the_end();
  GuestThread* t = current_thread();
  uint64_t rip = t != nullptr && t->vcpu != nullptr ? t->vcpu->regs().rip : 0;
  complain("%s: %s (detail %u, rip 0x%lx); run again with -V=kvm and report it", process().exe_path.c_str(), why, detail,
           rip);
  report_failure(kExitMachineFailure, why);
  exit_process(kExitMachineFailure);
}

}  // namespace km
