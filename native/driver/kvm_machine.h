// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/kvm.h>

#include <mutex>
#include <vector>

#include "native/driver/driver.h"
#include "native/driver/kvm_layout.h"
#include "native/driver/kvm_slots.h"
#include "native/driver/kvm_tables.h"
#include "native/driver/kvm_vcpu.h"

namespace km::kvm {

// Newer than Debian 12's <linux/kvm.h> (api.rst, "KVM_EXIT_MEMORY_FAULT", Linux 6.8).
constexpr unsigned KVM_EXIT_MEMORY_FAULT_ = 39;
inline uint64_t memory_fault_gpa(const kvm_run& run) {
  struct {
    uint64_t flags, gpa, size;
  } fault;
  __builtin_memcpy(&fault, run.padding, sizeof fault);
  return fault.gpa;
}

class KvmMachine final : public Machine, private SlotSink {
 public:
  KvmMachine(int device_fd, int vm_fd, const Capabilities& capabilities);
  ~KvmMachine() override;
  int init(const MachineOptions& options, const char** what);

  Window window() const override { return window_; }
  int protect(uint64_t addr, uint64_t len, uint32_t access) override;
  int fill(uint64_t addr, uint64_t lo, uint64_t hi, uint32_t access) override;
  int map_private(uint64_t gva, const void* hva, uint64_t len, uint32_t access) override;
  std::unique_ptr<Vcpu> create_vcpu(int* error) override;
  uint64_t sigreturn_address() const override { return kSigreturn; }
  size_t xstate_size() const override { return xstate_size_; }
  uint64_t xcr0() const override { return xcr0_; }
  const char* kind() const override { return "kvm"; }
  void abandon() override;

  // For KvmVcpu.
  void release_vcpu(const VcpuSlot& slot);
  bool has_xsave2() const { return has_xsave2_; }
  size_t kvm_xsave_size() const { return kvm_xsave_size_; }
  uint64_t* cell(unsigned vcpu) const { return guest_.cell(vcpu); }
  uint8_t* task(unsigned vcpu) const { return guest_.task(vcpu); }

 private:
  int add_slot(uint64_t gpa, uint64_t len, void* hva) override;
  int fetch_cpuid();
  int read_cpuid(const MachineOptions& options);
  int prove_vendor();
  int open_vcpu(VcpuSlot* slot);
  int init_vcpu(const VcpuSlot& slot);

  int device_fd_, vm_fd_;
  Capabilities capabilities_;
  Window window_;
  std::mutex lock_;  // slots, tables, vCPU pool
  unsigned next_slot_ = 0;
  uint64_t next_private_gpa_ = 0;
  SystemArea area_;
  PageTables tables_;
  GuestTables guest_;
  SlotMap slots_;
  VcpuPool vcpus_;
  std::vector<uint8_t> cpuid_;
  kvm_sregs sregs_{};
  uint64_t xcr0_ = 3;
  size_t xstate_size_ = 576;  // legacy area and header; read_cpuid adds the components
  size_t kvm_xsave_size_ = 4096;
  bool has_xsave2_ = false;
};

}  // namespace km::kvm
