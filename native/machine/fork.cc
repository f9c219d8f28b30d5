// SPDX-License-Identifier: Apache-2.0
// fork: the host's fork gives copy-on-write memory at the same addresses; the child builds a machine over it.
// vfork: the child runs on its parent's memory and vCPU, on another host stack, until exec or exit.
#include <errno.h>
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
  t.process->threads = {&t};
  t.clear_child_tid = (request.flags & CLONE_CHILD_CLEARTID) ? request.child_tid : 0;
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
  reset_syscall_counts();
  manage_announce();
  apply_host_mask(t.sigmask);
}

/// Flags a forked child understands besides its exit signal.
constexpr uint64_t kForkFlags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_SETTLS |
                                CLONE_VFORK | CLONE_VM | CLONE_DETACHED | CLONE_CLEAR_SIGHAND;

int64_t host_fork(GuestThread& parent, const CloneRequest& request) {
  uint64_t extra = request.flags & ~kForkFlags;
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

}  // namespace

int64_t clone_process(GuestThread& parent, const CloneRequest& request) {
  CpuState state;
  if (int rc = save_cpu(parent, &state); rc != 0) return rc;
  block_all_signals();
  int64_t pid;
  {
    std::lock_guard<std::mutex> threads(parent.process->threads_lock);
    std::lock_guard<std::mutex> memory(parent.process->memory->lock());
    pid = host_fork(parent, request);
  }
  if (pid == 0) {
    become_child(parent, request, state);
    return 0;
  }
  if (pid > 0 && (request.flags & CLONE_PARENT_SETTID)) {
    auto tid = static_cast<pid_t>(pid);
    copy_to_guest(request.parent_tid, &tid, sizeof tid);
  }
  if (!signal_waiting(parent)) apply_host_mask(parent.sigmask);
  return pid;
}

namespace {

constexpr size_t kVforkStack = 512 * 1024;

int vfork_child_main(void* argument) {
  auto* thread = static_cast<GuestThread*>(argument);
  thread->tid = static_cast<pid_t>(host_syscall(SYS_getpid));
  apply_host_mask(thread->sigmask);
  run_thread(*thread);
  host_syscall(SYS_exit_group, 0);
  return 0;
}

}  // namespace

int64_t clone_vfork(GuestThread& parent, const CloneRequest& request) {
  CpuState state;
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
  const SignalTable actions = signal_table();
  const bool nested = parent.vfork_child;
  parent.captured.signo = 0;
  parent.vfork_child = true;
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
    int rc = clone(vfork_child_main, static_cast<char*>(stack) + kVforkStack, CLONE_VM | CLONE_VFORK | SIGCHLD, &parent);
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
  signal_table() = actions;
  munmap(stack, kVforkStack);
  load_cpu(parent, state);
  if (pid > 0 && (request.flags & CLONE_PARENT_SETTID)) {
    auto child_tid = static_cast<pid_t>(pid);
    copy_to_guest(request.parent_tid, &child_tid, sizeof child_tid);
  }
  if (!signal_waiting(parent)) apply_host_mask(parent.sigmask);
  return pid;
}

namespace {

int64_t clone_any(GuestThread& thread, const CloneRequest& request) {
  constexpr uint64_t kThread = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
  if ((request.flags & kThread) == kThread) return clone_thread(thread, request);
  if (request.flags & CLONE_THREAD) return -EINVAL;
  if ((request.flags & (CLONE_VM | CLONE_VFORK)) == (CLONE_VM | CLONE_VFORK)) return clone_vfork(thread, request);
  if (request.flags & CLONE_VM) {
    KM_LOG("clone with CLONE_VM but neither CLONE_THREAD nor CLONE_VFORK (flags 0x%lx) is not offered", request.flags);
    return -ENOSYS;
  }
  return clone_process(thread, request);
}

}  // namespace

int64_t sys_clone(GuestThread& thread, const uint64_t args[6]) {
  CloneRequest request;
  request.flags = (args[0] & 0xffffffff) & ~uint64_t{CSIGNAL};
  request.exit_signal = static_cast<int>(args[0] & CSIGNAL);
  request.stack = args[1];
  request.parent_tid = args[2];
  request.child_tid = args[3];
  request.tls = args[4];
  return clone_any(thread, request);
}

int64_t sys_clone3(GuestThread& thread, const uint64_t args[6]) {
  // struct clone_args (man 2 clone3): flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid ...
  uint64_t a[11] = {};
  if (args[1] < 64) return -EINVAL;
  if (args[1] > 4096) return -E2BIG;
  if (int rc = copy_from_guest(a, args[0], args[1] < sizeof a ? args[1] : sizeof a); rc != 0) return rc;
  constexpr uint64_t kUnsupported = CLONE_PIDFD | CLONE_INTO_CGROUP;
  if ((a[0] & kUnsupported) || a[8] != 0 || a[9] != 0) {
    KM_LOG("clone3 flags 0x%lx (pidfd, set_tid or cgroup) are not offered", a[0]);
    return -ENOSYS;
  }
  CloneRequest request{a[0], a[5] != 0 ? a[5] + a[6] : 0, a[3], a[2], a[7], static_cast<int>(a[4])};
  return clone_any(thread, request);
}

int64_t sys_fork(GuestThread& thread, const uint64_t*) {
  CloneRequest request;
  request.exit_signal = SIGCHLD;
  return clone_process(thread, request);
}

int64_t sys_vfork(GuestThread& thread, const uint64_t*) {
  CloneRequest request;
  request.flags = CLONE_VM | CLONE_VFORK;
  request.exit_signal = SIGCHLD;
  return clone_vfork(thread, request);
}

}  // namespace km
