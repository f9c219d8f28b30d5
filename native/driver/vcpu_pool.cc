// SPDX-License-Identifier: Apache-2.0
#include "native/driver/vcpu_pool.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "native/base/private_fd.h"
#include "native/driver/device.h"

namespace km {

void VcpuPool::init(int vm_fd, size_t run_size, unsigned limit) {
  vm_fd_ = vm_fd;
  run_size_ = run_size;
  limit_ = limit;
}

bool VcpuPool::reuse(VcpuSlot* slot) {
  if (idle_.empty()) return false;
  *slot = idle_.back();
  idle_.pop_back();
  return true;
}

int VcpuPool::open(VcpuSlot* slot) {
  if (vm_fd_ < 0) return -EBADF;
  if (next_ >= limit_) return -EAGAIN;
  int created = ioctl(vm_fd_, KVM_CREATE_VCPU, next_);
  if (created < 0) return -errno;
  int fd = keep_private(created);
  if (fd < 0) return fd;
  void* run = mmap(nullptr, run_size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (run == MAP_FAILED) {
    int error = errno;
    close_private_fd(fd);
    return -error;
  }
  *slot = {next_++, fd, static_cast<kvm_run*>(run)};
  all_.push_back(*slot);
  return 0;
}

void VcpuPool::give_back(const VcpuSlot& slot) { idle_.push_back(slot); }

void VcpuPool::close_all() {
  for (const VcpuSlot& slot : all_) {
    munmap(slot.run, run_size_);
    close_private_fd(slot.fd);
  }
  all_.clear();
  idle_.clear();
  vm_fd_ = -1;
}

}  // namespace km
