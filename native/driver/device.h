// SPDX-License-Identifier: Apache-2.0
// What /dev/kvm and /dev/kkm have in common: KVM's numbers and structures (Documentation/virt/kvm/api.rst).
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <string>
#include <vector>

#include "native/driver/driver.h"

namespace km {

// <linux/kvm.h> of Debian 12 gives flexible-array structures another size in C++ than in C, and with it another
// ioctl number: these are C's.
struct XsaveArea {
  uint32_t region[1024];
};
constexpr unsigned long kGetXsave = _IOR(KVMIO, 0xa4, XsaveArea), kSetXsave = _IOW(KVMIO, 0xa5, XsaveArea);
static_assert(kGetXsave == 0x9000aea4 && kSetXsave == 0x5000aea5);

// The run page's copy of the registers is handed out as Regs.
static_assert(sizeof(Regs) == sizeof(kvm_regs));
static_assert(offsetof(Regs, rsp) == offsetof(kvm_regs, rsp) && offsetof(Regs, r8) == offsetof(kvm_regs, r8) &&
              offsetof(Regs, rip) == offsetof(kvm_regs, rip) && offsetof(Regs, rflags) == offsetof(kvm_regs, rflags));

constexpr uint64_t kTileState = 3ull << 17;  // AMX in XCR0: a payload would have to ask the host first
constexpr uint8_t kGeneralProtection = 13, kPageFault = 14;

/// Whether the CPU takes it for an address (48 bits, sign-extended). Linux gives a thread a #GP that jumps elsewhere.
constexpr bool canonical(uint64_t addr) {
  return static_cast<uint64_t>(static_cast<int64_t>(addr << 16) >> 16) == addr;
}

/// XSAVE image of `size` bytes that asks for a fresh thread's vector state.
std::vector<uint8_t> initial_xstate(size_t size);

/// As make_private_fd(), but closes `fd` when that fails.
int keep_private(int fd);

/// An opened device.
class Device : public Driver {
 public:
  /// Takes over the private descriptor `fd`.
  Device(int fd, const char* path) : fd_(fd), path_(path) {}
  ~Device() override;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const Capabilities& capabilities() const override { return capabilities_; }
  const char* path() const override { return path_.c_str(); }
  int fd() const override { return fd_; }

 protected:
  /// Checks the API version and asks for the limits. 0 or -errno with the failing step in *what.
  int read_limits(const char** what);
  /// Private descriptor of a new machine, or -errno.
  int create_vm(const char** what);
  int extension(unsigned long capability);

  int fd_;
  std::string path_;
  Capabilities capabilities_;
};

}  // namespace km
