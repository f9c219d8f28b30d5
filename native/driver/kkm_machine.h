// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <mutex>

#include "native/driver/driver.h"
#include "native/driver/kvm_layout.h"
#include "native/driver/vcpu_pool.h"

namespace km::kkm {

class KkmMachine final : public Machine {
 public:
  KkmMachine(int device_fd, int vm_fd, unsigned max_vcpus)
      : device_fd_(device_fd), vm_fd_(vm_fd), max_vcpus_(max_vcpus) {}
  ~KkmMachine() override;
  int init(const char** what);

  Window window() const override { return {kvm::kWindowStart, kvm::kWindowTop}; }
  int protect(uint64_t addr, uint64_t len, uint32_t access) override;
  int fill(uint64_t addr, uint64_t lo, uint64_t hi, uint32_t access) override;
  int map_private(uint64_t gva, const void* hva, uint64_t len, uint32_t access) override;
  std::unique_ptr<Vcpu> create_vcpu(int* error) override;
  uint64_t sigreturn_address() const override { return kvm::kSigreturn; }
  size_t xstate_size() const override { return xstate_size_; }
  uint64_t xcr0() const override { return xcr0_; }
  pid_t helper() const override { return companion_; }
  const char* kind() const override { return "kkm"; }
  void abandon() override;

  // For KkmVcpu.
  /// A child was forked to be the companion; by the first entry it mostly is. 0 or -errno.
  int await_companion();
  void release_vcpu(const VcpuSlot& slot);
  uint64_t* cell(unsigned index) const { return cells_ + index * kvm::kCellStride / sizeof(uint64_t); }

 private:
  int show(uint64_t gva, void* hva, uint64_t len, uint32_t prot);
  int make_private_pages();
  void read_xstate_layout();

  int device_fd_, vm_fd_;
  unsigned max_vcpus_;
  pid_t companion_ = -1;
  std::atomic<bool> born_{false};
  std::mutex lock_;  // slots, vCPU pool, companion
  unsigned next_slot_ = 0;
  VcpuPool vcpus_;
  uint64_t xcr0_ = 3;
  size_t xstate_size_ = 576;  // legacy area and header; read_xstate_layout adds the components
  uint8_t* code_ = nullptr;   // one page, the payload's way back from a signal handler
  uint64_t* cells_ = nullptr;
  uint64_t refilled_ = 0;
  unsigned refills_ = 0;
};

}  // namespace km::kkm
