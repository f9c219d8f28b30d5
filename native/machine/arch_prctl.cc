// SPDX-License-Identifier: Apache-2.0
#include <asm/prctl.h>
#include <errno.h>

#include "native/base/log.h"
#include "native/machine/process.h"
#include "native/syscalls/syscalls.h"

namespace km {
namespace {

constexpr uint64_t kUserEnd = 0x7ffffffff000;  // TASK_SIZE_MAX: what Linux accepts as a base
constexpr uint64_t kCpuidOn = 1;               // ARCH_GET_CPUID: the instruction is allowed

int64_t set_base(GuestThread& thread, uint64_t SegmentBases::*which, uint64_t value) {
  if (value >= kUserEnd) return -EPERM;
  thread.vcpu->settle();
  SegmentBases bases = thread.vcpu->bases();
  bases.*which = value;
  thread.vcpu->set_bases(bases);
  return 0;
}

}  // namespace

int64_t sys_arch_prctl(GuestThread& thread, const uint64_t args[6]) {
  constexpr uint64_t kXcompSupported = 0x1021, kXcompPermitted = 0x1022;
  uint64_t value = 0;
  switch (args[0]) {
    case ARCH_SET_FS:
      return set_base(thread, &SegmentBases::fs, args[1]);
    case ARCH_SET_GS:
      return set_base(thread, &SegmentBases::gs, args[1]);
    case ARCH_GET_FS:
      value = thread.vcpu->bases().fs;
      return copy_to_guest(args[1], &value, sizeof value);
    case ARCH_GET_GS:
      value = thread.vcpu->bases().gs;
      return copy_to_guest(args[1], &value, sizeof value);
    case ARCH_GET_CPUID:
      return kCpuidOn;
    case kXcompSupported:
    case kXcompPermitted:
      value = thread.process->machine->xcr0();
      return copy_to_guest(args[1], &value, sizeof value);
    default:
      return -EINVAL;
  }
}

}  // namespace km
