// SPDX-License-Identifier: Apache-2.0
#include "native/driver/kvm_vcpu.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "native/driver/device.h"
#include "native/driver/kvm_layout.h"
#include "native/driver/kvm_machine.h"
#include "native/driver/port_instruction.h"

namespace km::kvm {
namespace {

constexpr unsigned long kGetXsave2 = _IOR(KVMIO, 0xcf, XsaveArea);
static_assert(kGetXsave2 == 0x9000aecf);

// RFLAGS a payload may own: CF PF AF ZF SF TF DF OF NT RF AC ID.
constexpr uint64_t kUserFlags = 0x254dd5;
constexpr uint64_t kForcedFlags = 0x202;  // IF reads as set like under Linux
// Entries that EFAULT may end before it counts: a processor that walked the tables just before protect() changed them meets
// a page the host has closed already. The next entry walks again.
constexpr int kStaleWalks = 3;

/// Milliseconds to wait for RLIMIT_NPROC or pids.max to leave room for KVM's task.
constexpr int kWaitsForTask = 10000;

uint64_t user_flags(uint64_t flags) { return (flags & kUserFlags) | kForcedFlags; }

}  // namespace

KvmVcpu::KvmVcpu(KvmMachine& machine, VcpuSlot slot)
    : machine_(machine), slot_(slot), task_page_(machine.task(slot.index)) {}

KvmVcpu::~KvmVcpu() { machine_.release_vcpu(slot_); }

int KvmVcpu::reset(const kvm_sregs& sregs, bool reused) {
  kvm_run* run = slot_.run;
  run->immediate_exit = 0;
  run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  run->s.regs.sregs = sregs;
  memset(&run->s.regs.regs, 0, sizeof run->s.regs.regs);
  run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  regs().rflags = kForcedFlags;
  *cell() = 0;
  return reused ? set_xstate(initial_xstate(machine_.xstate_size()).data()) : 0;
}

KvmVcpu::Frame& KvmVcpu::frame() {
  // The gates push exactly this; the page belongs to this vCPU alone and is not reachable at CPL 3.
  return *reinterpret_cast<Frame*>(task_page_ + kFrameOffset);
}

void KvmVcpu::leave_by_iret() {
  Regs& r = regs();
  Frame& f = frame();
  f.rip = r.rip;
  f.cs = kUserCs;
  f.rflags = user_flags(r.rflags);
  f.rsp = r.rsp;
  f.ss = kUserSs;
  r.rip = EntryCode::iret();
  r.rsp = task_page(slot_.index) + kFrameOffset + offsetof(Frame, rip);
  r.rflags = 2;
}

/// Puts the payload state of regs() where the coming entry takes it from.
void KvmVcpu::load_user_state() {
  Regs& r = regs();
  switch (stance_) {
    case Stance::kPendingIo:
      return;
    case Stance::kUser:
      r.rflags = user_flags(r.rflags);
      break;
    case Stance::kTrampoline:
      // sysretq takes rip from rcx and rflags from r11; anything else needs iretq.
      if (r.rcx == r.rip && user_flags(r.r11) == user_flags(r.rflags)) {
        r.rip = trampoline_rip_;
        r.r11 = user_flags(r.rflags);
        r.rflags = 2;
        break;
      }
      leave_by_iret();
      break;
    case Stance::kGate:
      leave_by_iret();
      break;
  }
  slot_.run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

Exit KvmVcpu::run() {
  if (stance_ != Stance::kPendingIo && !canonical(regs().rip)) {
    // The CPU would refuse the entry itself; Linux gives the thread a general protection fault.
    return Exit{.kind = ExitKind::kException, .vector = kGeneralProtection};
  }
  load_user_state();
  for (int stale = 0, waits = 0;;) {
    // KVM_RUN: the run page stays mapped as long as this object lives; registers travel in it (SYNC_REGS).
    int rc = ioctl(slot_.fd, KVM_RUN, 0);
    int error = errno;
    if (rc < 0 && error == EAGAIN && waits++ < kWaitsForTask) {
      // The machine's first entry starts a task of KVM's own (Linux 6.14), and there is no room for one now. KVM has not
      // looked at the registers yet: the dirty bits stay.
      usleep(1000);
      continue;
    }
    slot_.run->kvm_dirty_regs = 0;
    stance_ = Stance::kUser;
    if (rc == 0 && slot_.run->exit_reason == KVM_EXIT_IO) return classify_io();
    if (rc < 0 && error == EFAULT && stale++ < kStaleWalks) continue;
    if (rc < 0 && error == EINTR) {
      Exit exit;
      if (classify_interrupt(&exit)) return exit;
      continue;
    }
    return failure(rc < 0 ? error : 0);
  }
}

Exit KvmVcpu::classify_io() {
  Regs& r = regs();
  kvm_run* run = slot_.run;
  if (EntryCode::in_gates(r.rip)) {
    stance_ = Stance::kGate;
    const Frame& f = frame();
    Exit exit{.kind = ExitKind::kException,
              .vector = static_cast<uint8_t>(f.vector),
              .error_code = static_cast<uint32_t>(f.error)};
    if (exit.vector == kPageFault) exit.address = run->s.regs.sregs.cr2;
    r.rip = f.rip;
    r.rsp = f.rsp;
    r.rflags = f.rflags;
    turn_into_port_access(r, &exit);  // TCG's SVM does not look at the I/O bitmap of a TSS that is in use
    return exit;
  }
  if (EntryCode::in_trampoline(r.rip)) {
    bool at_cpl0 = (run->s.regs.sregs.cs.selector & 3) == 0;
    stance_ = at_cpl0 ? Stance::kTrampoline : Stance::kUser;
    trampoline_rip_ = r.rip;
    r.rip = r.rcx;
    r.rflags = r.r11;
    return Exit{.kind = ExitKind::kSyscall};
  }
  stance_ = Stance::kPendingIo;
  return Exit{.kind = ExitKind::kIo,
              .size = run->io.size,
              .is_in = run->io.direction == KVM_EXIT_IO_IN,
              .port = run->io.port,
              .count = run->io.count};
}

/// A signal or kick stopped the guest. False: it stands before one of the `out`s; let it reach that first (the
/// caller looks at its signals after every exit).
bool KvmVcpu::classify_interrupt(Exit* exit) {
  Regs& r = regs();
  *exit = Exit{.kind = ExitKind::kInterrupted};
  if (EntryCode::in_gates(r.rip)) {
    if (r.rip <= EntryCode::gates_out()) {
      slot_.run->immediate_exit = 0;
      return false;
    }
    stance_ = Stance::kGate;
    const Frame& f = frame();
    r.rip = f.rip;
    r.rsp = f.rsp;
    r.rflags = f.rflags;
    return true;
  }
  if (!EntryCode::in_trampoline(r.rip)) return true;
  bool at_cpl0 = (slot_.run->s.regs.sregs.cs.selector & 3) == 0;
  if (r.rip == kTrampoline) {
    slot_.run->immediate_exit = 0;
    return false;
  }
  if (!at_cpl0) return true;
  stance_ = Stance::kTrampoline;
  trampoline_rip_ = r.rip;
  r.rip = r.rcx;
  r.rflags = r.r11;
  return true;
}

Exit KvmVcpu::failure(int error) {
  kvm_run* run = slot_.run;
  if (error == EFAULT) {
    bool told = run->exit_reason == KVM_EXIT_MEMORY_FAULT_;
    return Exit{.kind = ExitKind::kMemoryFault, .address = told ? memory_fault_gpa(*run) : 0};
  }
  if (error != 0) return Exit{.kind = ExitKind::kFailed, .detail = static_cast<uint32_t>(error)};
  switch (run->exit_reason) {
    case KVM_EXIT_MMIO:
      return Exit{.kind = ExitKind::kMemoryFault, .address = run->mmio.phys_addr};
    case KVM_EXIT_SHUTDOWN:
      return Exit{.kind = ExitKind::kShutdown};
    case KVM_EXIT_INTERNAL_ERROR:
      return Exit{.kind = ExitKind::kFailed, .detail = run->internal.suberror};
    default:
      return Exit{.kind = ExitKind::kFailed, .detail = run->exit_reason};
  }
}

void KvmVcpu::settle() {
  if (stance_ != Stance::kPendingIo) return;
  // KVM finishes the instruction at the next KVM_RUN; with immediate_exit it does nothing else (api.rst, 5).
  slot_.run->immediate_exit = 1;
  ioctl(slot_.fd, KVM_RUN, 0);
  slot_.run->immediate_exit = kicked_;
  stance_ = Stance::kUser;
}

void KvmVcpu::kick() {
  kicked_ = true;
  slot_.run->immediate_exit = 1;
}

void KvmVcpu::unkick() {
  kicked_ = false;
  slot_.run->immediate_exit = 0;
}

SegmentBases KvmVcpu::bases() {
  return {slot_.run->s.regs.sregs.fs.base, slot_.run->s.regs.sregs.gs.base};
}

void KvmVcpu::set_bases(const SegmentBases& bases) {
  slot_.run->s.regs.sregs.fs.base = bases.fs;
  slot_.run->s.regs.sregs.gs.base = bases.gs;
  slot_.run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
}

int KvmVcpu::get_xstate(void* buffer) {
  // KVM writes its own size, which may exceed the components of XCR0 (KVM_CAP_XSAVE2).
  std::vector<uint8_t> image(machine_.kvm_xsave_size());
  unsigned long request = machine_.has_xsave2() ? kGetXsave2 : kGetXsave;
  if (ioctl(slot_.fd, request, image.data()) != 0) return -errno;
  memcpy(buffer, image.data(), std::min(image.size(), machine_.xstate_size()));
  return 0;
}

int KvmVcpu::set_xstate(const void* buffer) {
  std::vector<uint8_t> image(machine_.kvm_xsave_size(), 0);
  memcpy(image.data(), buffer, std::min(image.size(), machine_.xstate_size()));
  return ioctl(slot_.fd, kSetXsave, image.data()) == 0 ? 0 : -errno;
}

uint64_t KvmVcpu::cell_address() const { return kCells + slot_.index * kCellStride; }

uint64_t* KvmVcpu::cell() { return machine_.cell(slot_.index); }

}  // namespace km::kvm
