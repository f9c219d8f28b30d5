// SPDX-License-Identifier: Apache-2.0
// fork: the host's fork gives copy-on-write memory at the same addresses; the child builds a machine over it.
// vfork: the child runs on its parent's memory and vCPU, on another host stack, until exec or exit.
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

#include "native/base/log.h"
#include "native/machine/clone.h"
#include "native/machine/process.h"
#include "native/machine/signals.h"
#include "native/machine/start.h"
#include "native/manage/manage.h"
#include "native/syscalls/observe.h"
#include "native/syscalls/syscalls.h"

namespace km {
namespace {

/// Everything of a vCPU that a child inherits.
struct CpuState {
  Regs regs;
  SegmentBases bases;
  bool standard_gs;
  uint64_t cell;
  std::vector<uint8_t> xstate;
};

int save_cpu(GuestThread& t, CpuState* state) {
  t.vcpu->settle();
  state->regs = t.vcpu->regs();
  state->bases = t.vcpu->bases();
  state->standard_gs = state->bases.gs == t.vcpu->cell_address();
  state->cell = *t.vcpu->cell();
  state->xstate.resize(t.process->machine->xstate_size());
  return t.vcpu->get_xstate(state->xstate.data());
}

int load_cpu(GuestThread& t, const CpuState& state) {
  SegmentBases bases = state.bases;
  if (state.standard_gs) bases.gs = t.vcpu->cell_address();
  t.vcpu->set_bases(bases);
  t.vcpu->regs() = state.regs;
  *t.vcpu->cell() = state.cell;
  return t.vcpu->set_xstate(state.xstate.data());
}

/// In the child: the parent's descriptors are useless here (KVM ties a VM to its mm), so make everything anew.
int rebuild_machine(GuestThread& t, const CpuState& state) {
  Process& p = *t.process;
  p.machine->abandon();
  t.vcpu.reset();
  int error = 0;
  const char* what = "";
  MachineOptions options = p.machine_options;
  std::unique_ptr<Machine> fresh = p.driver->create_machine(options, &error, &what);
  if (fresh == nullptr) return -error;
  p.machine = std::move(fresh);
  if (int rc = p.memory->attach(*p.machine); rc != 0) return rc;
  if (int rc = map_vdso(p); rc != 0) return rc;
  t.vcpu = p.machine->create_vcpu(&error);
  if (t.vcpu == nullptr) return -error;
  return load_cpu(t, state);
}

void become_child(GuestThread& t, const CloneRequest& request, CpuState& state) {
  t.tid = getpid();
  t.process->live_threads = 1;
  t.process->leader_status = -1;
  t.process->ending = false;  // of another thread of the parent
  t.process->threads = {&t};
  t.clear_child_tid = (request.flags & CLONE_CHILD_CLEARTID) ? request.child_tid : 0;
  if (t.own_actions != nullptr) {  // forked by a vfork child: they are this process's from now on
    const SignalTable actions = *t.own_actions;
    t.own_actions = nullptr;
    signal_table() = actions;
  }
  t.robust_list = 0;
  t.captured.signo = 0;  // the child starts without pending signals (man 2 fork)
  for (siginfo_t& info : t.deferred) info.si_signo = 0;
  if (request.flags & CLONE_SETTLS) state.bases.fs = request.tls;
  int rc = place_child(t, state.regs, request.stack);
  if (rc == 0) rc = rebuild_machine(t, state);
  if (rc != 0) {
    complain("%s: no machine for the forked child: %s", t.process->exe_path.c_str(), strerrorname_np(-rc));
    _exit(kExitMachineFailure);
  }
  if (request.flags & CLONE_CHILD_SETTID) copy_to_guest(request.child_tid, &t.tid, sizeof t.tid);
  if (t.hypercall_block != 0 && request.stack == 0) {
    const int64_t zero = 0;
    copy_to_guest(t.hypercall_block, &zero, sizeof zero);
  }
  t.regs_replaced = true;  // rax is in place
  if (request.flags & CLONE_CLEAR_SIGHAND) clear_handlers();
  reset_syscall_counts();
  manage_announce();
  apply_host_mask(t.sigmask);
}

int64_t host_fork(GuestThread& parent, const CloneRequest& request) {
  const uint64_t extra = request.flags & kHostCloneFlags;
  if (extra == 0 && request.exit_signal == SIGCHLD) {
    pid_t pid = fork();  // libc's: it keeps malloc consistent when other threads exist
    return pid < 0 ? -errno : pid;
  }
  if (parent.process->live_threads > 1) {
    KM_LOG("clone flags 0x%lx with exit signal %d need a single-threaded payload", extra, request.exit_signal);
    return -ENOSYS;
  }
  return host_syscall(SYS_clone, extra | static_cast<uint64_t>(request.exit_signal));
}

/// CLONE_PIDFD: the child starts when its parent has the descriptor, so that nobody can reap it before.
class PidfdGate {
 public:
  /// Returns 0, or -errno with nothing to undo.
  int open(uint64_t address) {
    address_ = address;
    const int none = -1;
    if (copy_to_guest(address, &none, sizeof none) != 0) return -EFAULT;
    return pipe2(ends_, O_CLOEXEC) == 0 ? 0 : -errno;
  }
  /// In the child: returns when the parent has its descriptor, or is gone.
  void wait() {
    if (ends_[0] < 0) return;
    ::close(ends_[1]);
    char byte;
    while (read(ends_[0], &byte, 1) < 0 && errno == EINTR) {
    }
    ::close(ends_[0]);
  }
  /// In the parent, with what fork returned.
  void release(int64_t pid) {
    if (ends_[0] < 0) return;
    ::close(ends_[0]);
    if (pid > 0) {
      const int fd = static_cast<int>(host_syscall(SYS_pidfd_open, static_cast<uint64_t>(pid), 0));
      copy_to_guest(address_, &fd, sizeof fd);
    }
    ::close(ends_[1]);
  }

 private:
  uint64_t address_ = 0;
  int ends_[2] = {-1, -1};
};

}  // namespace

int64_t clone_process(GuestThread& parent, const CloneRequest& request) {
  CpuState state;
  if (int rc = save_cpu(parent, &state); rc != 0) return rc;
  PidfdGate gate;
  if (request.flags & CLONE_PIDFD) {
    if (int rc = gate.open(request.pidfd); rc != 0) return rc;
  }
  block_all_signals();
  int64_t pid;
  {
    std::lock_guard<std::mutex> threads(parent.process->threads_lock);
    std::lock_guard<std::mutex> memory(parent.process->memory->lock());
    pid = host_fork(parent, request);
  }
  if (pid == 0) {
    gate.wait();
    become_child(parent, request, state);
    return 0;
  }
  gate.release(pid);
  if (pid > 0 && (request.flags & CLONE_PARENT_SETTID)) {
    auto tid = static_cast<pid_t>(pid);
    copy_to_guest(request.parent_tid, &tid, sizeof tid);
  }
  if (!signal_waiting(parent)) apply_host_mask(parent.sigmask);
  return pid;
}

namespace {

constexpr size_t kVforkStack = 512 * 1024;

/// What the kernel does for a vfork child itself, with the payload's addresses.
constexpr uint64_t kVforkHostFlags = kHostCloneFlags | CLONE_FILES | CLONE_SIGHAND | CLONE_PIDFD |
                                     CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;

/// The kernel writes these words itself, and would write monitor memory as well.
bool words_in_window(const Process& p, const CloneRequest& request) {
  const bool child = request.flags & (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID);
  if (child && !p.memory->in_window(request.child_tid, sizeof(pid_t))) return false;
  return !(request.flags & CLONE_PIDFD) || p.memory->in_window(request.pidfd, sizeof(int));
}

struct VforkChild {
  GuestThread* thread;
  bool clear_handlers;
};

int vfork_child_main(void* argument) {
  const VforkChild& child = *static_cast<VforkChild*>(argument);
  GuestThread* thread = child.thread;
  if (child.clear_handlers) clear_handlers();
  thread->tid = static_cast<pid_t>(host_syscall(SYS_getpid));
  apply_host_mask(thread->sigmask);
  run_thread(*thread);
  host_syscall(SYS_exit_group, 0);
  return 0;
}

}  // namespace

int64_t clone_vfork(GuestThread& parent, const CloneRequest& request) {
  CpuState state;
  if (!words_in_window(*parent.process, request)) return -EFAULT;
  if (int rc = save_cpu(parent, &state); rc != 0) return rc;
  void* stack = mmap(nullptr, kVforkStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return -ENOMEM;
  hold_proc();
  block_all_signals();
  // The parent's thread sleeps until the child execs or exits; meanwhile the child is this GuestThread.
  const pid_t tid = parent.tid;
  const uint64_t sigmask = parent.sigmask, clear_tid = parent.clear_child_tid, block = parent.hypercall_block;
  const AltStack altstack = parent.altstack;
  const CapturedSignal captured = parent.captured;
  SignalTable actions = signal_table();
  SignalTable* const own_actions = parent.own_actions;
  const bool nested = parent.vfork_child;
  parent.captured.signo = 0;
  parent.vfork_child = true;
  if (!(request.flags & CLONE_SIGHAND)) parent.own_actions = &actions;
  parent.clear_child_tid = 0;
  parent.hypercall_block = 0;
  Regs child = state.regs;
  GuestThread view;  // place_child looks only at the argument block
  view.hypercall_block = block;
  int64_t pid = place_child(view, child, request.stack);
  if (pid == 0) {
    parent.vcpu->regs() = child;
    if (request.flags & CLONE_SETTLS) parent.vcpu->set_bases({request.tls, state.bases.gs});
    // CLONE_VM|CLONE_VFORK shares the mm, which is what KVM binds a VM to: the vCPU keeps working in the child.
    VforkChild start{&parent, (request.flags & CLONE_CLEAR_SIGHAND) != 0};
    const uint64_t flags = CLONE_VM | CLONE_VFORK | (request.flags & kVforkHostFlags);
    int rc = clone(vfork_child_main, static_cast<char*>(stack) + kVforkStack,
                   static_cast<int>(flags | static_cast<uint64_t>(request.exit_signal)), &start,
                   reinterpret_cast<pid_t*>(request.pidfd), nullptr, reinterpret_cast<pid_t*>(request.child_tid));
    pid = rc < 0 ? -errno : rc;
  }
  parent.tid = tid;
  parent.sigmask = sigmask;
  parent.clear_child_tid = clear_tid;
  parent.hypercall_block = block;
  parent.altstack = altstack;
  parent.captured = captured;
  parent.vfork_child = nested;
  parent.exiting = false;
  parent.regs_replaced = false;
  parent.in_masked_wait = false;
  parent.own_actions = own_actions;
  munmap(stack, kVforkStack);
  load_cpu(parent, state);
  if (pid > 0 && (request.flags & CLONE_PARENT_SETTID)) {
    auto child_tid = static_cast<pid_t>(pid);
    copy_to_guest(request.parent_tid, &child_tid, sizeof child_tid);
  }
  if (!signal_waiting(parent)) apply_host_mask(parent.sigmask);
  return pid;
}

}  // namespace km
