// SPDX-License-Identifier: Apache-2.0
// One KVM vCPU that runs CPL-3 code; its CPL-0 excursions (gates, trampoline) end inside this class.
#pragma once

#include <linux/kvm.h>

#include <atomic>

#include "native/driver/driver.h"
#include "native/driver/vcpu_pool.h"

namespace km::kvm {

class KvmMachine;

class KvmVcpu final : public Vcpu {
 public:
  KvmVcpu(KvmMachine& machine, VcpuSlot slot);
  ~KvmVcpu() override;

  /// Brings the vCPU into the state of a fresh thread. Returns 0 or -errno.
  int reset(const kvm_sregs& sregs, bool reused);

  Regs& regs() override { return reinterpret_cast<Regs&>(slot_.run->s.regs.regs); }  // same layout, asserted
  Exit run() override;
  void settle() override;
  void kick() override;
  void unkick() override;
  SegmentBases bases() override;
  void set_bases(const SegmentBases& bases) override;
  int get_xstate(void* buffer) override;
  int set_xstate(const void* buffer) override;
  int fd() const override { return slot_.fd; }
  uint64_t cell_address() const override;
  uint64_t* cell() override;

 private:
  /// Where the vCPU stands behind the payload state shown in regs().
  enum class Stance : uint8_t {
    kUser,        // at CPL 3: registers go in as they are
    kPendingIo,   // at CPL 3 in the middle of an `in`/`out`: nothing may go in
    kTrampoline,  // at CPL 0, `sysretq` next
    kGate,        // at CPL 0 in a gate: leaves by `iretq` from the frame in the task page
  };
  /// Frame on the vCPU's exception stack, laid out by CPU and gate.
  struct Frame {
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
  };

  void load_user_state();
  bool classify_interrupt(Exit* exit);
  Exit classify_io();
  Exit failure(int error);
  void leave_by_iret();
  Frame& frame();

  KvmMachine& machine_;
  VcpuSlot slot_;
  uint8_t* task_page_;  // TSS and stacks of this vCPU
  Stance stance_ = Stance::kUser;
  uint64_t trampoline_rip_ = 0;
  volatile bool kicked_ = false;
};

}  // namespace km::kvm
