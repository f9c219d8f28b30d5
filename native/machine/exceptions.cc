// SPDX-License-Identifier: Apache-2.0
#include "native/machine/exceptions.h"

#include <string.h>
#include <sys/syscall.h>

#include <vector>

#include "native/base/log.h"
#include "native/machine/process.h"
#include "native/machine/signals.h"
#include "native/syscalls/syscalls.h"

namespace km {
namespace {

enum Vector : uint8_t {
  kDivide = 0, kDebug = 1, kBreakpoint = 3, kOverflow = 4, kBound = 5, kInvalidOpcode = 6,
  kDoubleFault = 8, kSegmentNotPresent = 11, kStackFault = 12, kGeneral = 13, kPage = 14, kX87 = 16, kAlignment = 17,
  kSimd = 19, kVectors = 32,
};

// Page-fault error code (SDM vol. 3, 4.7) and the first address that is not user space.
constexpr uint64_t kProtection = 1, kReservedBit = 8, kFetch = 16;
constexpr uint64_t kUserEnd = 0x7ffffffff000;

/// What Linux sends (arch/x86/kernel/traps.c) for the vectors that need no further look.
struct TrapSignal {
  int signo = SIGSEGV, code = SI_KERNEL;
  bool address_is_rip = false;
};

TrapSignal trap_signal(uint8_t vector) {
  switch (vector) {
    case kDivide: return {SIGFPE, FPE_INTDIV, true};
    case kDebug: return {SIGTRAP, TRAP_TRACE, true};
    case kBreakpoint: return {SIGTRAP, SI_KERNEL};
    case kInvalidOpcode: return {SIGILL, ILL_ILLOPN, true};
    case kSegmentNotPresent: return {SIGBUS, SI_KERNEL};
    case kStackFault: return {SIGBUS, SI_KERNEL};
    case kAlignment: return {SIGBUS, BUS_ADRALN};
    default: return {SIGSEGV, SI_KERNEL};
  }
}

/// si_code of #MF and #XM from the unmasked exception bits (fpu__exception_code()).
int float_code(GuestThread& t, uint8_t vector) {
  std::vector<uint8_t> image(t.process->machine->xstate_size());
  if (t.vcpu->get_xstate(image.data()) != 0) return 0;
  uint16_t control, status;
  uint32_t mxcsr;
  memcpy(&control, image.data(), 2);
  memcpy(&status, image.data() + 2, 2);
  memcpy(&mxcsr, image.data() + 24, 4);
  unsigned raised = vector == kX87 ? status & ~control : mxcsr & ~(mxcsr >> 7);
  if (raised & 0x01) return FPE_FLTINV;
  if (raised & 0x04) return FPE_FLTDIV;
  if (raised & 0x08) return FPE_FLTOVF;
  if (raised & 0x12) return FPE_FLTUND;
  if (raised & 0x20) return FPE_FLTRES;
  return 0;
}

/// A call into the page at the end of the address space, where Linux once had code for three system calls and still
/// answers them: old static programs make them (arch/x86/entry/vsyscall).
bool serve_vsyscall(GuestThread& t, const Exit& exit) {
  constexpr uint64_t kVsyscallPage = 0xffffffffff600000, kStride = 1024;
  constexpr uint64_t kNumbers[] = {SYS_gettimeofday, SYS_time, SYS_getcpu};
  Regs& r = t.vcpu->regs();
  const uint64_t offset = exit.address - kVsyscallPage;
  if (!(exit.error_code & kFetch) || exit.address != r.rip || offset % kStride != 0 || offset / kStride > 2) return false;
  uint64_t caller = 0;
  if (copy_from_guest(&caller, r.rsp, sizeof caller) != 0) return false;
  const uint64_t args[6] = {r.rdi, r.rsi, r.rdx, 0, 0, 0};
  r.rax = static_cast<uint64_t>(dispatch_syscall(t, kNumbers[offset / kStride], args));
  r.rip = caller;
  r.rsp += sizeof caller;
  return true;
}

void serve_page_fault(GuestThread& t, const Exit& exit) {
  if (serve_vsyscall(t, exit)) return;
  FaultVerdict verdict = t.process->memory->page_fault(exit.address, exit.error_code);
  KM_TRACE(Tag::kMem, "#PF address 0x%lx error 0x%x rip 0x%lx -> signal %d", exit.address, exit.error_code,
           t.vcpu->regs().rip, verdict.signo);
  if (verdict.signo == 0) return;
  // What Linux tells user space (set_signal_archinfo): no reserved bit, and addresses of the kernel look present.
  uint64_t error = exit.error_code & ~kReservedBit;
  if (exit.address >= kUserEnd) error |= kProtection;
  deliver_fault(t, Fault{.signo = verdict.signo,
                         .code = verdict.code,
                         .address = verdict.address,
                         .trapno = kPage,
                         .error = error,
                         .cr2 = exit.address});
}

/// What the processor would have said, where the device says something else or too little.
struct Trap {
  uint8_t vector;
  uint64_t error;
  int debug_code = TRAP_TRACE;
};

Trap as_the_processor(GuestThread& t, const Exit& exit) {
  constexpr uint8_t kInt = 0xcd, kInt1 = 0xf1;
  constexpr uint64_t kGateError = 2, kTrapFlag = 0x100;  // SDM vol. 3, 6.13: the index counts in an IDT
  const Regs& r = t.vcpu->regs();
  Trap trap{exit.vector, exit.error_code};
  uint8_t code[2];
  // A device that emulates `int n` (PVM) finds no such instruction; a processor finds a gate that is closed to CPL 3.
  if (exit.vector == kInvalidOpcode && copy_from_guest(code, r.rip, sizeof code) == 0 && code[0] == kInt)
    trap = {kGeneral, code[1] * 8u + kGateError};
  // DR6 would tell a step from int1; the trap flag and the instruction do as well. Some hosts stand at it, not behind.
  auto is_int1 = [&code](uint64_t at) { return copy_from_guest(code, at, 1) == 0 && code[0] == kInt1; };
  if (exit.vector == kDebug && !(r.rflags & kTrapFlag) && (is_int1(r.rip - 1) || is_int1(r.rip)))
    trap.debug_code = TRAP_BRKPT;
  return trap;
}

}  // namespace

void serve_exception(GuestThread& t, const Exit& exit) {
  if (exit.vector == kPage) return serve_page_fault(t, exit);
  if (exit.vector == kDoubleFault) fail_machine("double fault in the virtual CPU", exit.error_code);
  const Trap trap = as_the_processor(t, exit);
  Fault fault{.trapno = trap.vector, .error = trap.error};
  if (exit.vector == kX87 || exit.vector == kSimd) {
    fault.signo = SIGFPE;
    fault.code = float_code(t, exit.vector);
    fault.address = t.vcpu->regs().rip;
    if (fault.code == 0) return;  // as Linux: a spurious one is retried
  } else {
    const TrapSignal signal = trap_signal(trap.vector);
    fault.signo = signal.signo;
    fault.code = trap.vector == kDebug ? trap.debug_code : signal.code;
    if (signal.address_is_rip) fault.address = t.vcpu->regs().rip;
  }
  if (exit.vector == kDebug) t.vcpu->regs().rflags &= ~0x100ull;  // Linux clears TF before it tells
  deliver_fault(t, fault);
}

}  // namespace km
