// SPDX-License-Identifier: Apache-2.0
#include "native/machine/signals.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "native/base/log.h"
#include "native/confine/confine.h"
#include "native/machine/clone.h"
#include "native/machine/process.h"
#include "native/manage/manage.h"
#include "native/manage/report.h"
#include "native/syscalls/syscalls.h"

extern "C" const char km_forward_begin[], km_forward_insn[], km_forward_restart[];
extern "C" const char km_copy_begin[], km_copy_end[], km_copy_fault[];
extern "C" void km_host_restorer();

// rt_sigaction(2) wants a restorer; libc's sigaction() would refuse signals 32 and 33.
asm(".text\n.globl km_host_restorer\nkm_host_restorer: movl $15, %eax\nsyscall\n");

namespace km {
namespace {

constexpr uint64_t kSaSiginfo = 4, kSaRestorer = 0x04000000, kSaNodefer = 0x40000000, kSaResethand = 0x80000000;
constexpr uint64_t kSaRestart = 0x10000000, kSaNocldstop = 1, kSaNocldwait = 2;
constexpr uint64_t kDefault = 0, kIgnore = 1;

constexpr uint64_t bit(int signo) { return 1ull << (signo - 1); }
/// Never blocked on the host: copies of payload memory fault (guest_memory.cc).
constexpr uint64_t kNeverBlocked = bit(SIGSEGV) | bit(SIGBUS);

void set_host_action(int signo, uint64_t handler, uint64_t flags) {
  KernelSigaction action{handler, flags | kSaRestorer, reinterpret_cast<uint64_t>(&km_host_restorer), ~kNeverBlocked};
  host_syscall(SYS_rt_sigaction, signo, reinterpret_cast<uint64_t>(&action), 0, 8);
}

bool is_user_sent(const siginfo_t& info) { return info.si_code <= 0; }

/// The monitor's one host handler. Runs with everything but SIGSEGV and SIGBUS blocked.
void on_signal(int signo, siginfo_t* info, void* context) {
  auto* uc = static_cast<ucontext_t*>(context);
  greg_t& rip = uc->uc_mcontext.gregs[REG_RIP];
  auto at = [](const char* label) { return reinterpret_cast<greg_t>(label); };
  bool own_fault = (signo == SIGSEGV || signo == SIGBUS) && !is_user_sent(*info);
  if (own_fault && rip >= at(km_copy_begin) && rip < at(km_copy_end)) {
    rip = at(km_copy_fault);
    return;
  }
  if (confine::is_violation(*info)) {
    manage_withdraw();
    report_failure(kExitMachineFailure, "the monitor made a forbidden system call");
    confine::end_by_violation(*info);
  }
  GuestThread* thread = current_thread();
  if (manage_signal(*info)) {
    if (thread == nullptr) {
      // About to end: blocks the signal here and leaves it to another thread.
      sigaddset(&uc->uc_sigmask, SIGBUS);
      manage_pass_on(*info);
      return;
    }
    if (rip >= at(km_forward_begin) && rip <= at(km_forward_insn)) rip = at(km_forward_restart);
    if (thread->vcpu != nullptr) thread->vcpu->kick();
    return;
  }
  if (own_fault || thread == nullptr) {
    // A fault of the monitor: let the kernel report it as what it is.
    report_failure(kExitMachineFailure, "the monitor crashed");
    set_host_action(signo, kDefault, 0);
    return;
  }
  if ((signo == SIGSEGV || signo == SIGBUS) && (thread->sigmask & bit(signo))) {
    thread->deferred[signo == SIGBUS] = *info;
    return;
  }
  if (thread->captured.signo != 0) {  // only SIGSEGV/SIGBUS get here: keep it for the next round
    thread->deferred[signo == SIGBUS] = *info;
    return;
  }
  thread->captured.info = *info;
  thread->captured.signo = signo;
  if (rip >= at(km_forward_begin) && rip <= at(km_forward_insn)) rip = at(km_forward_restart);
  if (thread->vcpu != nullptr) thread->vcpu->kick();
  // Everything stays blocked until the payload has got this one.
  uint64_t all = ~kNeverBlocked;
  memcpy(&uc->uc_sigmask, &all, sizeof all);
}

uint64_t host_handler() { return reinterpret_cast<uint64_t>(&on_signal); }

/// Puts a disposition of the payload onto the host.
void mirror_action(int signo, const KernelSigaction& action) {
  bool fault_signal = signo == SIGSEGV || signo == SIGBUS;
  // SIGSYS by default too: the monitor's seccomp filter raises it, and says so before the end.
  const bool watched = fault_signal || (signo == SIGSYS && action.handler == kDefault);
  if (!watched && (action.handler == kDefault || action.handler == kIgnore)) {
    set_host_action(signo, action.handler, action.flags & (kSaNocldstop | kSaNocldwait));
    return;
  }
  set_host_action(signo, host_handler(), kSaSiginfo | (action.flags & (kSaRestart | kSaNocldstop | kSaNocldwait)));
}

/// What is known of a signal the payload never set: inherited SIG_IGN or SIG_DFL.
KernelSigaction& action_of(int signo) {
  SignalTable& table = signal_table();
  if (!table.known[signo]) {
    KernelSigaction inherited{};
    if (signo != SIGSEGV && signo != SIGBUS) {
      host_syscall(SYS_rt_sigaction, signo, 0, reinterpret_cast<uint64_t>(&inherited), 8);
    }
    table.action[signo] = KernelSigaction{};
    table.action[signo].handler = inherited.handler == kIgnore ? kIgnore : kDefault;
    table.known[signo] = true;
  }
  return table.action[signo];
}

/// Lets the host kernel do the default action, so that wait(2) of the parent tells the truth.
void act_by_default(GuestThread& thread, int signo) {
  set_host_action(signo, kDefault, 0);
  uint64_t mask = ~bit(signo);
  host_syscall(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<uint64_t>(&mask), 0, 8);
  host_syscall(SYS_tgkill, getpid(), thread.tid, signo);
  mirror_action(signo, action_of(signo));  // still here: stopped and continued, or ignored by default
}

/// Delivery common to captured signals and faults. The payload's mask before is thread.sigmask.
void deliver(GuestThread& thread, int signo, const siginfo_t& info, const Fault* fault) {
  KernelSigaction& entry = action_of(signo);
  KernelSigaction action = entry;
  if (entry.flags & kSaResethand) {
    entry.handler = kDefault;
    mirror_action(signo, entry);
  }
  uint64_t during = thread.in_masked_wait ? thread.wait_mask : thread.sigmask;
  Delivery delivery{&action, &info, signo, thread.sigmask, 0, 0, 0};
  if (fault != nullptr) {
    delivery.trapno = fault->trapno;
    delivery.error = fault->error;
    delivery.cr2 = fault->cr2;
  }
  thread.in_masked_wait = false;
  thread.vcpu->settle();
  if (!push_signal_frame(thread, delivery)) {
    complain("%s: no room for the frame of signal %d (%s) on the stack at 0x%lx", process().exe_path.c_str(), signo,
             strsignal(signo), thread.vcpu->regs().rsp);
    signal_table().action[SIGSEGV].handler = kDefault;
    act_by_default(thread, SIGSEGV);
    return;
  }
  KM_TRACE(Tag::kSignals, "signal %d to handler 0x%lx", signo, action.handler);
  thread.sigmask = during | action.mask;
  if (!(action.flags & kSaNodefer)) thread.sigmask |= bit(signo);
  thread.sigmask &= ~(bit(SIGKILL) | bit(SIGSTOP));
}

/// SIGSEGV or SIGBUS somebody sent while the payload blocked it.
void release_deferred(GuestThread& thread) {
  for (siginfo_t& info : thread.deferred) {
    if (info.si_signo == 0 || (thread.sigmask & bit(info.si_signo)) || thread.captured.signo != 0) continue;
    thread.captured.info = info;
    thread.captured.signo = info.si_signo;
    info.si_signo = 0;
  }
}

}  // namespace

SignalTable& signal_table() {
  static SignalTable table;
  const GuestThread* thread = current_thread();
  return thread != nullptr && thread->own_actions != nullptr ? *thread->own_actions : table;
}

void apply_host_mask(uint64_t mask) {
  mask &= ~kNeverBlocked;
  host_syscall(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<uint64_t>(&mask), 0, 8);
}

void block_all_signals() { apply_host_mask(~0ull); }

void init_signals(GuestThread& main_thread) {
  set_host_action(SIGSEGV, host_handler(), kSaSiginfo);
  set_host_action(SIGBUS, host_handler(), kSaSiginfo);
  mirror_action(SIGSYS, action_of(SIGSYS));
  host_syscall(SYS_rt_sigprocmask, SIG_SETMASK, 0, reinterpret_cast<uint64_t>(&main_thread.sigmask), 8);
}

void deliver_captured(GuestThread& thread) {
  do {
    int signo = thread.captured.signo;
    if (signo != 0) {
      siginfo_t info = thread.captured.info;
      thread.captured.signo = 0;
      uint64_t handler = action_of(signo).handler;
      if (handler == kDefault) {
        act_by_default(thread, signo);
      } else if (handler != kIgnore) {
        deliver(thread, signo, info, nullptr);
      }
    }
    thread.in_masked_wait = false;
    thread.vcpu->unkick();
    apply_host_mask(thread.sigmask);  // the next pending signal is captured here
    release_deferred(thread);
  } while (thread.captured.signo != 0);
}

void deliver_fault(GuestThread& thread, const Fault& fault) {
  siginfo_t info{};
  info.si_signo = fault.signo;
  info.si_code = fault.code;
  info.si_addr = reinterpret_cast<void*>(fault.address);
  uint64_t handler = action_of(fault.signo).handler;
  if (handler == kDefault || handler == kIgnore || (thread.sigmask & bit(fault.signo))) {
    thread.vcpu->settle();
    const Regs& r = thread.vcpu->regs();
    complain("%s: killed by signal %d (%s), code %d, address 0x%lx, at rip 0x%lx rsp 0x%lx", process().exe_path.c_str(),
             fault.signo, strsignal(fault.signo), fault.code, fault.address, r.rip, r.rsp);
    if (!thread.vfork_child) release_robust_locks(*thread.process);  // a vfork child's locks are its parent's
    prctl(PR_SET_DUMPABLE, 0);  // a core of the monitor would say nothing about the payload
    signal_table().action[fault.signo].handler = kDefault;
    if (!thread.vfork_child) manage_withdraw();
    act_by_default(thread, fault.signo);
    report_signal(fault.signo);
    exit_process(128 + fault.signo);  // pid 1 of a pid namespace survives default actions
  }
  deliver(thread, fault.signo, info, &fault);
  apply_host_mask(thread.sigmask);
}

void clear_handlers() {
  for (int signo = 1; signo <= kSignals; signo++) {
    KernelSigaction& action = action_of(signo);
    if (action.handler == kDefault || action.handler == kIgnore) continue;
    action = KernelSigaction{};
    mirror_action(signo, action);
  }
}

int64_t sys_rt_sigaction(GuestThread&, const uint64_t args[6]) {
  auto signo = static_cast<int>(args[0]);
  if (args[3] != 8 || args[0] < 1 || args[0] > kSignals) return -EINVAL;
  KernelSigaction old = action_of(signo), wanted;
  if (args[1] != 0) {
    if (signo == SIGKILL || signo == SIGSTOP) return -EINVAL;
    if (copy_from_guest(&wanted, args[1], sizeof wanted) != 0) return -EFAULT;
    wanted.mask &= ~(bit(SIGKILL) | bit(SIGSTOP));
    action_of(signo) = wanted;
    mirror_action(signo, wanted);
  }
  if (args[2] != 0 && copy_to_guest(args[2], &old, sizeof old) != 0) return -EFAULT;
  return 0;
}

int64_t sys_rt_sigprocmask(GuestThread& thread, const uint64_t args[6]) {
  uint64_t old = thread.sigmask, set = 0;
  if (args[3] != 8) return -EINVAL;
  if (args[1] != 0) {
    if (copy_from_guest(&set, args[1], sizeof set) != 0) return -EFAULT;
    switch (static_cast<int>(args[0])) {
      case SIG_BLOCK: set |= old; break;
      case SIG_UNBLOCK: set = old & ~set; break;
      case SIG_SETMASK: break;
      default: return -EINVAL;
    }
    thread.sigmask = set & ~(bit(SIGKILL) | bit(SIGSTOP));
    // With a signal in hand the host mask stays closed; deliver_captured() opens it.
    if (!signal_waiting(thread)) apply_host_mask(thread.sigmask);
    release_deferred(thread);
  }
  if (args[2] != 0 && copy_to_guest(args[2], &old, sizeof old) != 0) return -EFAULT;
  return 0;
}

int64_t sys_rt_sigpending(GuestThread& thread, const uint64_t args[6]) {
  if (args[1] > 8) return -EINVAL;
  uint64_t pending = 0;
  host_syscall(SYS_rt_sigpending, reinterpret_cast<uint64_t>(&pending), 8);
  for (const siginfo_t& info : thread.deferred) {
    if (info.si_signo != 0) pending |= bit(info.si_signo);
  }
  pending &= thread.sigmask;
  return copy_to_guest(args[0], &pending, args[1]);
}

int64_t sys_rt_sigreturn(GuestThread& thread, const uint64_t*) {
  thread.vcpu->settle();
  // `ret` of the handler took 8 bytes; a direct `out` call has its argument block on the stack above that.
  uint64_t frame = thread.vcpu->regs().rsp - 8;
  if (thread.hypercall_block != 0) frame += 56;
  if (!pop_signal_frame(thread, frame)) {
    deliver_fault(thread, Fault{.signo = SIGSEGV, .code = SI_KERNEL});
  } else {
    if (!signal_waiting(thread)) apply_host_mask(thread.sigmask);
    release_deferred(thread);
  }
  thread.regs_replaced = true;
  return 0;
}

int64_t sys_sigaltstack(GuestThread& thread, const uint64_t args[6]) {
  struct Stack {
    uint64_t sp;
    uint32_t flags, pad;
    uint64_t size;
  };
  constexpr uint32_t kOnStack = 1, kDisable = 2, kAutodisarm = 1u << 31;
  uint64_t rsp = thread.vcpu->regs().rsp;
  const AltStack now = thread.altstack;
  bool on = !(now.flags & kAutodisarm) && rsp > now.sp && rsp - now.sp <= now.size;
  Stack old{now.sp, now.flags & kAutodisarm, 0, now.size};
  if (now.size == 0) old.flags |= kDisable;
  else if (on) old.flags |= kOnStack;
  if (args[0] != 0) {
    Stack wanted;
    if (copy_from_guest(&wanted, args[0], sizeof wanted) != 0) return -EFAULT;
    uint32_t mode = wanted.flags & ~kAutodisarm;
    if (on) return -EPERM;
    if (mode != kDisable && mode != kOnStack && mode != 0) return -EINVAL;
    if (mode == kDisable) {
      thread.altstack = AltStack{0, 0, wanted.flags};
    } else {
      if (wanted.size < kSmallestAltStack) return -ENOMEM;
      thread.altstack = AltStack{wanted.sp, wanted.size, wanted.flags};
    }
  }
  if (args[1] != 0 && copy_to_guest(args[1], &old, sizeof old) != 0) return -EFAULT;
  return 0;
}

}  // namespace km
