// SPDX-License-Identifier: Apache-2.0
// One KKM vCPU: a thread of the companion. It has no CPL-0 code; the module tells what the payload did.
#pragma once

#include "native/driver/kkm_machine.h"

namespace km::kkm {

class KkmVcpu final : public Vcpu {
 public:
  KkmVcpu(KkmMachine& machine, VcpuSlot slot) : machine_(machine), slot_(slot) {}
  ~KkmVcpu() override { machine_.release_vcpu(slot_); }

  /// Brings the vCPU into the state of a fresh thread. Returns 0 or -errno.
  int reset(bool reused);

  // The device's own copy: kvm_regs in the run page, mapped as long as this object lives.
  Regs& regs() override { return *reinterpret_cast<Regs*>(&slot_.run->s.regs.regs); }
  Exit run() override;
  void settle() override {}  // RIP is behind the instruction at the exit already
  void kick() override { slot_.run->immediate_exit = 1; }
  void unkick() override { slot_.run->immediate_exit = 0; }
  SegmentBases bases() override;
  void set_bases(const SegmentBases& bases) override;
  int get_xstate(void* buffer) override;
  int set_xstate(const void* buffer) override;
  int fd() const override { return slot_.fd; }
  uint64_t cell_address() const override { return kvm::kCells + slot_.index * kvm::kCellStride; }
  uint64_t* cell() override { return machine_.cell(slot_.index); }

 private:
  Exit classify();
  Exit refuse_32bit_call();
  int state_ioctl(unsigned long request, void* image);

  KkmMachine& machine_;
  VcpuSlot slot_;
};

}  // namespace km::kkm
