// SPDX-License-Identifier: Apache-2.0
#include "native/driver/device.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "native/base/private_fd.h"

namespace km {

std::vector<uint8_t> initial_xstate(size_t size) {
  // XSTATE_BV 0 asks for the initial configuration of everything but MXCSR (SDM vol. 1, 13.6).
  std::vector<uint8_t> image(size, 0);
  constexpr uint16_t fcw = 0x37f;
  constexpr uint32_t mxcsr = 0x1f80;
  memcpy(image.data(), &fcw, sizeof fcw);
  memcpy(image.data() + 24, &mxcsr, sizeof mxcsr);
  return image;
}

int keep_private(int fd) {
  int moved = make_private_fd(fd);
  if (moved < 0) close(fd);
  return moved;
}

Device::~Device() { close_private_fd(fd_); }

int Device::extension(unsigned long capability) { return ioctl(fd_, KVM_CHECK_EXTENSION, capability); }

int Device::read_limits(const char** what) {
  *what = "KVM_GET_API_VERSION";
  capabilities_.api_version = ioctl(fd_, KVM_GET_API_VERSION, 0);
  if (capabilities_.api_version != KVM_API_VERSION) return -ENODEV;
  capabilities_.max_vcpus = static_cast<unsigned>(extension(KVM_CAP_MAX_VCPUS));
  capabilities_.max_slots = static_cast<unsigned>(extension(KVM_CAP_NR_MEMSLOTS));
  return 0;
}

int Device::create_vm(const char** what) {
  *what = "KVM_CREATE_VM";
  int vm = ioctl(fd_, KVM_CREATE_VM, 0);
  while (vm < 0 && errno == EINTR) vm = ioctl(fd_, KVM_CREATE_VM, 0);
  if (vm < 0) return -errno;
  *what = "descriptor for the machine";
  return keep_private(vm);
}

}  // namespace km
