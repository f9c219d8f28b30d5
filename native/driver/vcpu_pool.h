// SPDX-License-Identifier: Apache-2.0
// The vCPUs of one machine. Neither KVM nor KKM destroys a vCPU before its machine, so they are kept and reused.
#pragma once

#include <linux/kvm.h>

#include <cstddef>
#include <vector>

namespace km {

/// What survives a payload thread.
struct VcpuSlot {
  unsigned index = 0;
  int fd = -1;
  kvm_run* run = nullptr;
};

/// Not locked: the machine's lock protects it.
class VcpuPool {
 public:
  /// `run_size`: bytes of a vCPU's mapping (KVM_GET_VCPU_MMAP_SIZE); `limit`: how many there may be.
  void init(int vm_fd, size_t run_size, unsigned limit);

  /// One that was given back; false when there is none.
  bool reuse(VcpuSlot* slot);
  /// A new one. 0 or -errno (EAGAIN: none left).
  int open(VcpuSlot* slot);
  void give_back(const VcpuSlot& slot);

  /// Closes them all, those in use included. For a machine's end, and for a child after fork(), where the lock may be
  /// a lost thread's: every vCPU is in one list that grows only under the monitor's thread lock, which a fork holds.
  void close_all();

 private:
  int vm_fd_ = -1;
  size_t run_size_ = 0;
  unsigned limit_ = 0, next_ = 0;
  std::vector<VcpuSlot> all_, idle_;
};

}  // namespace km
