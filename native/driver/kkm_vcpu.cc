// SPDX-License-Identifier: Apache-2.0
#include "native/driver/kkm_vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "kkm/include/uapi/kkm.h"
#include "native/driver/device.h"
#include "native/driver/port_instruction.h"

namespace km::kkm {
namespace {

static_assert(offsetof(kvm_run, hw) == KKM_RUN_EXIT_OFFSET);

constexpr uint32_t kInt80Error = 0x80 << 3 | 2;  // #GP of an IDT entry that is not there (SDM vol. 3, 6.13)

}  // namespace

int KkmVcpu::reset(bool reused) {
  kvm_run* run = slot_.run;
  run->immediate_exit = 0;
  run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  memset(&run->s.regs, 0, sizeof run->s.regs);
  regs().rflags = 2;
  run->s.regs.sregs.gs.base = cell_address();
  *cell() = 0;
  // The module starts a thread in the initial vector state.
  return reused ? set_xstate(initial_xstate(machine_.xstate_size()).data()) : 0;
}

Exit KkmVcpu::run() {
  if (!canonical(regs().rip)) return Exit{.kind = ExitKind::kException, .vector = kGeneralProtection};
  if (int rc = machine_.await_companion(); rc != 0) {
    return Exit{.kind = ExitKind::kFailed, .detail = static_cast<uint32_t>(-rc)};
  }
  kvm_run* run = slot_.run;
  run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
  // KVM_RUN: registers travel in the run page (SYNC_REGS).
  if (ioctl(slot_.fd, KVM_RUN, 0) == 0) return classify();
  switch (errno) {
    case EINTR:
      return Exit{.kind = ExitKind::kInterrupted};
    case EIO:
      return Exit{.kind = ExitKind::kShutdown};
    default:
      return Exit{.kind = ExitKind::kFailed, .detail = static_cast<uint32_t>(errno)};
  }
}

Exit KkmVcpu::classify() {
  const kvm_run* run = slot_.run;
  if (run->exit_reason == KKM_EXIT_SYSCALL) {
    kkm_syscall call;
    memcpy(&call, &run->hw, sizeof call);
    return call.flags & KKM_SYSCALL_32BIT ? refuse_32bit_call() : Exit{.kind = ExitKind::kSyscall};
  }
  if (run->exit_reason == KVM_EXIT_IO) {
    return Exit{.kind = ExitKind::kIo,
                .size = run->io.size,
                .is_in = run->io.direction == KVM_EXIT_IO_IN,
                .port = run->io.port,
                .count = run->io.count};
  }
  if (run->exit_reason != KVM_EXIT_EXCEPTION) return Exit{.kind = ExitKind::kFailed, .detail = run->exit_reason};
  kkm_exception x;
  memcpy(&x, &run->hw, sizeof x);
  Exit exit{.kind = ExitKind::kException,
            .vector = static_cast<uint8_t>(x.vector),
            .error_code = x.error_code,
            .address = x.cr2};
  turn_into_port_access(regs(), &exit);
  return exit;
}

/// `int $0x80` and `sysenter` are Linux's 32-bit doors. There is none in a KVM machine, and here neither: #GP.
Exit KkmVcpu::refuse_32bit_call() {
  constexpr uint8_t kInt80[] = {0xcd, 0x80};
  uint8_t code[sizeof kInt80];
  Exit exit{.kind = ExitKind::kException, .vector = kGeneralProtection};
  uint64_t at = regs().rip - sizeof code;
  if (read_code(at, code, sizeof code) != sizeof code || memcmp(code, kInt80, sizeof code) != 0) return exit;
  regs().rip = at;  // a fault's rip; behind `sysenter` it is not the payload's any more
  exit.error_code = kInt80Error;
  return exit;
}

SegmentBases KkmVcpu::bases() { return {slot_.run->s.regs.sregs.fs.base, slot_.run->s.regs.sregs.gs.base}; }

void KkmVcpu::set_bases(const SegmentBases& bases) {
  slot_.run->s.regs.sregs.fs.base = bases.fs;
  slot_.run->s.regs.sregs.gs.base = bases.gs;
  slot_.run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
}

/// Unlike KVM's these may wait: for the vCPU's thread, which the companion is still to make.
int KkmVcpu::state_ioctl(unsigned long request, void* image) {
  while (ioctl(slot_.fd, request, image) != 0) {
    if (errno != EINTR) return -errno;
  }
  return 0;
}

int KkmVcpu::get_xstate(void* buffer) {
  // Without tiles an image is at most 4096 bytes, KVM_GET_XSAVE's size; the module leaves them out of this one.
  XsaveArea image;
  if (int rc = machine_.await_companion(); rc != 0) return rc;
  if (int rc = state_ioctl(kGetXsave, &image); rc != 0) return rc;
  memcpy(buffer, &image, std::min(sizeof image, machine_.xstate_size()));
  return 0;
}

int KkmVcpu::set_xstate(const void* buffer) {
  XsaveArea image{};
  if (int rc = machine_.await_companion(); rc != 0) return rc;
  memcpy(&image, buffer, std::min(sizeof image, machine_.xstate_size()));
  return state_ioctl(kSetXsave, &image);
}

}  // namespace km::kkm
