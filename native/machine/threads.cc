// SPDX-License-Identifier: Apache-2.0
// Threads of the payload: clone(2) with CLONE_THREAD, and their end.
#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <vector>

#include "native/base/log.h"
#include "native/machine/clone.h"
#include "native/machine/process.h"
#include "native/machine/signals.h"
#include "native/syscalls/syscalls.h"

namespace km {
namespace {

constexpr size_t kHostStack = 256 * 1024;

struct Birth {
  GuestThread* thread;
  const CloneRequest* request;
  sem_t born;
  pid_t tid;  // the thread itself may have ended before its parent looks
};

void* thread_main(void* argument) {
  auto* birth = static_cast<Birth*>(argument);
  GuestThread& thread = *birth->thread;
  const CloneRequest& request = *birth->request;
  thread.tid = birth->tid = static_cast<pid_t>(host_syscall(SYS_gettid));
  set_current_thread(&thread);
  if (request.flags & CLONE_PARENT_SETTID) copy_to_guest(request.parent_tid, &thread.tid, sizeof thread.tid);
  if (request.flags & CLONE_CHILD_SETTID) copy_to_guest(request.child_tid, &thread.tid, sizeof thread.tid);
  apply_host_mask(thread.sigmask);  // before anybody knows the tid: libc has unblocked its own signals
  sem_post(&birth->born);           // `birth` and `request` are gone from here on
  run_thread(thread);
  set_current_thread(nullptr);
  thread.process->forget(&thread);
  delete &thread;
  return nullptr;
}

int start_host_thread(Birth* birth) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kHostStack);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t handle;
  int error = pthread_create(&handle, &attributes, thread_main, birth);
  pthread_attr_destroy(&attributes);
  return -error;
}

/// Gives the child's vCPU what clone(2) says a thread inherits.
int copy_cpu_state(GuestThread& parent, GuestThread& child, const CloneRequest& request) {
  std::vector<uint8_t> xstate(parent.process->machine->xstate_size());
  if (int rc = parent.vcpu->get_xstate(xstate.data()); rc != 0) return rc;
  if (int rc = child.vcpu->set_xstate(xstate.data()); rc != 0) return rc;
  SegmentBases bases = parent.vcpu->bases();
  bool standard_gs = bases.gs == parent.vcpu->cell_address();
  if (request.flags & CLONE_SETTLS) bases.fs = request.tls;
  if (standard_gs) bases.gs = child.vcpu->cell_address();
  child.vcpu->set_bases(bases);
  child.vcpu->regs() = parent.vcpu->regs();
  return place_child(parent, child.vcpu->regs(), request.stack);
}

}  // namespace

int place_child(GuestThread& parent, Regs& child, uint64_t stack) {
  if (parent.hypercall_block == 0) {
    child.rax = 0;
    if (stack != 0) child.rsp = stack;
    return 0;
  }
  // A direct `out` call: the child finds a copy of the argument block, result 0, on its own stack.
  uint8_t block[56];
  if (stack == 0) return 0;
  if (copy_from_guest(block, parent.hypercall_block, sizeof block) != 0) return -EFAULT;
  for (int i = 0; i < 8; i++) block[i] = 0;
  child.rsp = (stack & ~7ull) - sizeof block;
  return copy_to_guest(child.rsp, block, sizeof block);
}

int64_t clone_thread(GuestThread& parent, const CloneRequest& request) {
  if (parent.vfork_child) {
    KM_LOG("a vfork child cannot start threads before it calls exec");
    return -EAGAIN;
  }
  parent.vcpu->settle();
  std::lock_guard<std::mutex> guard(parent.process->threads_lock);
  auto child = std::make_unique<GuestThread>();
  child->process = parent.process;
  child->sigmask = parent.sigmask;
  child->altstack.flags = SS_DISABLE;
  if (request.flags & CLONE_CHILD_CLEARTID) child->clear_child_tid = request.child_tid;
  int error = 0;
  child->vcpu = parent.process->machine->create_vcpu(&error);
  if (child->vcpu == nullptr) {
    KM_LOG("no virtual CPU for another thread: %d (at most %u threads)", error, kMaxVcpus);
    return -EAGAIN;
  }
  if (int rc = copy_cpu_state(parent, *child, request); rc != 0) return rc;
  Birth birth{child.get(), &request, {}, 0};
  sem_init(&birth.born, 0, 0);
  block_all_signals();  // inherited by the host thread until it knows who it is
  parent.process->live_threads++;  // before it can end
  parent.process->threads.insert(child.get());
  int rc = start_host_thread(&birth);
  if (rc != 0) {
    parent.process->live_threads--;
    parent.process->threads.erase(child.get());
  } else {
    (void)child.release();  // its own from now on
    while (sem_wait(&birth.born) != 0) {
    }
  }
  sem_destroy(&birth.born);
  if (!signal_waiting(parent)) apply_host_mask(parent.sigmask);
  return rc != 0 ? -EAGAIN : birth.tid;
}

void release_robust_locks(Process& process) {
  std::lock_guard<std::mutex> guard(process.threads_lock);
  for (GuestThread* thread : process.threads) robust_list_exit(*thread);
}

int64_t sys_set_tid_address(GuestThread& thread, const uint64_t args[6]) {
  thread.clear_child_tid = args[0];
  return thread.tid;
}

namespace {

/// A signal that came while the thread was on its way out: another thread takes it, unless it was for this one.
void pass_on_captured(const GuestThread& thread) {
  if (!signal_waiting(thread) || thread.captured.info.si_code == SI_TKILL) return;
  siginfo_t info = thread.captured.info;
  // A process may queue itself any si_code (man 2 rt_sigqueueinfo).
  host_syscall(SYS_rt_sigqueueinfo, getpid(), thread.captured.signo, reinterpret_cast<uint64_t>(&info));
}

/// Threads end one by one: the last one's status is the process's on Linux 6.1, the first thread's on 5.10. A payload
/// finds what the host's kernel does.
int status_of_process(const Process& process, int last) {
  utsname name;
  unsigned major = 0, minor = 0;
  if (uname(&name) != 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2) return last;
  const bool is_old = major < 6 || (major == 6 && minor == 0);
  const int leader = process.leader_status;
  return is_old && leader >= 0 ? leader : last;
}

}  // namespace

int64_t sys_exit(GuestThread& thread, const uint64_t args[6]) {
  auto status = static_cast<int>(args[0] & 0xff);
  if (thread.vfork_child) host_syscall(SYS_exit_group, status);
  block_all_signals();
  pass_on_captured(thread);
  robust_list_exit(thread);
  thread.exiting = true;
  thread.vcpu.reset();  // before anybody learns that the thread is gone: the next one can have it
  if (thread.clear_child_tid != 0) {
    const int zero = 0;
    if (copy_to_guest(thread.clear_child_tid, &zero, sizeof zero) == 0) {
      host_syscall(SYS_futex, thread.clear_child_tid, FUTEX_WAKE, 1);
    }
  }
  const bool is_leader = thread.tid == getpid();
  if (is_leader) thread.process->leader_status = status;
  if (--thread.process->live_threads == 0) exit_process(status_of_process(*thread.process, status));
  if (is_leader) host_syscall(SYS_exit, status);  // stays a zombie until the others are gone
  return 0;
}

int64_t sys_exit_group(GuestThread& thread, const uint64_t args[6]) {
  if (thread.vfork_child) host_syscall(SYS_exit_group, args[0]);
  release_robust_locks(*thread.process);
  exit_process(static_cast<int>(args[0] & 0xff));
}

}  // namespace km
