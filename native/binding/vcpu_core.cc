// SPDX-License-Identifier: Apache-2.0
// The run thread of a vCPU. A vCPU may only be kicked from its own thread (it sets a flag the next KVM_RUN reads), so a
// kick is a signal to that thread: the handler sets the flag, and the signal itself ends a KVM_RUN in progress.
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "native/binding/core.h"

namespace km::binding {
namespace {

constexpr uint64_t kTrapFlag = 0x100;
constexpr uint8_t kDebug = 1, kBreakpoint = 3;
constexpr size_t kStack = 256 * 1024;

std::atomic<int> signal_number{0};

/// The vCPU whose thread this is. Touched by the thread before any kick, so that the handler finds it allocated.
thread_local VcpuCore* current = nullptr;

/// Highest real-time signal nobody in this process uses.
int free_signal() {
  for (int signo = SIGRTMAX - 1; signo > SIGRTMIN; signo--) {
    struct sigaction action;
    if (sigaction(signo, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) return signo;
  }
  return -EBUSY;
}

}  // namespace

int VcpuCore::kick_signal() {
  static std::mutex lock;
  std::lock_guard<std::mutex> guard(lock);
  if (signal_number != 0) return signal_number;
  int signo = free_signal();
  if (signo < 0) return signo;
  struct sigaction action = {};
  action.sa_handler = &VcpuCore::on_kick;  // no SA_RESTART: KVM_RUN shall return
  sigfillset(&action.sa_mask);
  if (sigaction(signo, &action, nullptr) != 0) return -errno;
  signal_number = signo;
  return signo;
}

void VcpuCore::on_kick(int) {
  VcpuCore* self = current;
  if (self != nullptr && self->inside_ && self->kick_wanted_) self->vcpu_->kick();
}

VcpuCore::VcpuCore(std::shared_ptr<MachineCore> machine, std::unique_ptr<Vcpu> vcpu)
    : machine_(std::move(machine)), vcpu_(std::move(vcpu)) {}

VcpuCore::~VcpuCore() {
  stop();
  machine_->forget(this);
}

Failure VcpuCore::start(std::function<void(const Exit*)> done) {
  if (stopping_) return {ESHUTDOWN, "run", "ERR_KM_DESTROYED"};
  if (running_) return {EBUSY, "run", "ERR_KM_BUSY"};
  if (!has_thread_) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kStack);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // inherited: node's signals stay node's
    int error = pthread_create(&thread_, &attributes, &VcpuCore::thread_main, this);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_attr_destroy(&attributes);
    if (error != 0) return {error, "pthread_create"};
    has_thread_ = true;
  }
  std::lock_guard<std::mutex> guard(lock_);
  running_ = true;
  done_ = std::move(done);
  wake_.notify_one();
  return {};
}

void* VcpuCore::thread_main(void* self) {
  current = static_cast<VcpuCore*>(self);
  sigset_t kick;
  sigemptyset(&kick);
  sigaddset(&kick, signal_number);
  pthread_sigmask(SIG_UNBLOCK, &kick, nullptr);
  current->serve();
  current = nullptr;
  return nullptr;
}

void VcpuCore::serve() {
  for (;;) {
    std::function<void(const Exit*)> done;
    {
      std::unique_lock<std::mutex> guard(lock_);
      wake_.wait(guard, [this] { return stopping_ || done_ != nullptr; });
      done = std::move(done_);
      done_ = nullptr;
    }
    if (done == nullptr) return;  // stopped while idle
    const Exit exit = stopping_ ? Exit{.kind = ExitKind::kInterrupted} : run_once();
    running_ = false;
    done(stopping_ ? nullptr : &exit);
    if (stopping_) return;
  }
}

Exit VcpuCore::enter() {
  inside_ = true;
  if (kick_wanted_) vcpu_->kick();
  Exit exit = vcpu_->run();
  inside_ = false;
  vcpu_->unkick();
  if (exit.kind == ExitKind::kInterrupted) kick_wanted_ = false;
  return exit;
}

/// Runs the original instruction under the trap flag, then puts the breakpoint back.
Exit VcpuCore::step_over_breakpoint(uint64_t address) {
  vcpu_->regs().rflags |= kTrapFlag;
  Exit exit = enter();
  machine_->plant_breakpoint(address);
  vcpu_->settle();
  vcpu_->regs().rflags &= ~kTrapFlag;
  if (exit.kind == ExitKind::kSyscall) vcpu_->regs().r11 &= ~kTrapFlag;
  return exit;
}

Exit VcpuCore::run_once() {
  if (!machine_->has_breakpoints()) return enter();
  vcpu_->settle();
  const uint64_t rip = vcpu_->regs().rip;
  const bool trapping = vcpu_->regs().rflags & kTrapFlag;
  if (!trapping && machine_->lift_breakpoint(rip)) {
    Exit exit = step_over_breakpoint(rip);
    const bool stepped = exit.kind == ExitKind::kException && exit.vector == kDebug;
    if (!stepped) return exit;
  }
  Exit exit = enter();
  if (exit.kind != ExitKind::kException || exit.vector != kBreakpoint) return exit;
  if (!machine_->has_breakpoint(vcpu_->regs().rip - 1)) return exit;
  vcpu_->regs().rip--;  // #BP is a trap; the instruction under the breakpoint has not run
  exit.address = vcpu_->regs().rip;
  exit.detail = kOwnBreakpoint;
  return exit;
}

void VcpuCore::kick() {
  kick_wanted_ = true;
  if (running_ && has_thread_) pthread_kill(thread_, signal_number);
}

void VcpuCore::stop() {
  {
    std::lock_guard<std::mutex> guard(lock_);
    stopping_ = true;
    wake_.notify_one();
  }
  if (has_thread_) {
    kick();
    pthread_join(thread_, nullptr);
    has_thread_ = false;
  }
  vcpu_.reset();
}

}  // namespace km::binding
