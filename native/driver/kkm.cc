// SPDX-License-Identifier: Apache-2.0
// /dev/kkm: no page tables, no descriptor tables, no trampoline. The guest's page tables are the host kernel's, filled
// from the monitor's own mappings with the rights these have, so one slot over the whole window is all there is to say.
#include "native/driver/kkm.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "kkm/include/uapi/kkm.h"
#include "native/base/private_fd.h"
#include "native/driver/companion.h"
#include "native/driver/device.h"
#include "native/driver/kkm_machine.h"
#include "native/driver/kkm_vcpu.h"
#include "native/driver/kvm_layout.h"

namespace km::kkm {
namespace {

using kvm::kCellPages;
using kvm::kCells;
using kvm::kPage;
using kvm::kPrivateMaps;
using kvm::kSigreturn;
using kvm::kSupervisorBase;
using kvm::kTrampoline;
using kvm::kWindowStart;
using kvm::kWindowTop;

constexpr unsigned kMostRefills = 1000;  // faults in a row on one page the VMA tree calls fine

/// Whether other address spaces can be shown the memory: not so the kernel's own clock pages ([vvar]).
bool has_pages(const void* hva) {
  // Clears a flag that is not set; refused on mappings of device memory, which those pages count as (madvise(2)).
  return madvise(const_cast<void*>(hva), kPage, MADV_DOFORK) == 0;
}

}  // namespace

KkmMachine::~KkmMachine() {
  const pid_t companion = companion_;
  abandon();
  if (companion > 0) reap_companion(companion);
  if (code_ != nullptr) munmap(code_, kPage);
  if (cells_ != nullptr) munmap(cells_, kCellPages * kPage);
}

// Takes no lock: in a forked child a lost thread may hold it, and nobody else is there.
void KkmMachine::abandon() {
  vcpus_.close_all();
  if (vm_fd_ >= 0) close_private_fd(vm_fd_);
  vm_fd_ = -1;
  companion_ = -1;  // after a fork it is another's child
}

/// Guest [gva, gva+len) shows the monitor's [hva, hva+len). Guest-physical equals guest-virtual throughout.
int KkmMachine::show(uint64_t gva, void* hva, uint64_t len, uint32_t prot) {
  // The slot's range outlives the machine or goes by the payload's own munmap, which the module follows.
  kvm_userspace_memory_region region{next_slot_, 0, gva, len, reinterpret_cast<uint64_t>(hva)};
  if (ioctl(vm_fd_, KVM_SET_USER_MEMORY_REGION, &region) != 0) return -errno;
  next_slot_++;
  kkm_window window{.gva = gva, .gpa = gva, .size = len, .prot = prot, .reserved = 0};
  return ioctl(vm_fd_, KKM_MAP_WINDOW, &window) == 0 ? 0 : -errno;
}

int KkmMachine::await_companion() {
  if (born_) return 0;
  std::lock_guard<std::mutex> guard(lock_);
  if (born_) return 0;
  if (companion_ < 0) return -EIO;
  int rc = companion_status(vm_fd_, companion_);
  if (rc != 0) companion_ = -1;
  born_ = rc == 0;
  return rc;
}

int KkmMachine::make_private_pages() {
  constexpr uint64_t cells = kCellPages * kPage;
  // mov $15 (rt_sigreturn), %eax; syscall: for handlers without a restorer.
  constexpr uint8_t sigreturn[] = {0xb8, 15, 0, 0, 0, 0x0f, 0x05};
  void* both = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (both == MAP_FAILED) return -errno;
  code_ = static_cast<uint8_t*>(both);
  memcpy(code_ + (kSigreturn - kTrampoline), sigreturn, sizeof sigreturn);
  both = mmap(nullptr, cells, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (both == MAP_FAILED) return -errno;
  cells_ = static_cast<uint64_t*>(both);
  if (int rc = show(kTrampoline, code_, kPage, KKM_PROT_READ | KKM_PROT_EXEC); rc != 0) return rc;
  return show(kCells, cells_, cells, KKM_PROT_READ | KKM_PROT_WRITE);
}

void KkmMachine::read_xstate_layout() {
  // Sub-leaf n of leaf 0xd describes component n: size in eax, offset in ebx (SDM vol. 1, 13.2).
  unsigned a, b, c, d;
  __cpuid_count(0xd, 0, a, b, c, d);
  xcr0_ = (uint64_t{d} << 32 | a) & ~kTileState;
  for (unsigned n = 2; n < 63; n++) {
    if ((xcr0_ >> n & 1) == 0) continue;
    __cpuid_count(0xd, n, a, b, c, d);
    xstate_size_ = std::max<size_t>(xstate_size_, a + b);
  }
}

int KkmMachine::init(const char** what) {
  *what = "KVM_GET_VCPU_MMAP_SIZE";
  int run_size = ioctl(device_fd_, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_size < 0) return -errno;
  vcpus_.init(vm_fd_, static_cast<size_t>(run_size), std::min(kMaxVcpus, max_vcpus_));
  read_xstate_layout();

  *what = "companion process";
  companion_ = spawn_companion(vm_fd_);
  if (companion_ < 0) return companion_;

  *what = "memory of the machine";
  constexpr uint32_t rights = KKM_PROT_READ | KKM_PROT_WRITE | KKM_PROT_EXEC | KKM_PROT_HOST_EXEC;
  // The window's addresses are the monitor's own; a slot costs nothing until it is touched.
  if (int rc = show(kWindowStart, reinterpret_cast<void*>(kWindowStart), kWindowTop - kWindowStart, rights); rc != 0) {
    return rc;
  }
  return make_private_pages();
}

int KkmMachine::protect(uint64_t addr, uint64_t len, uint32_t) {
  // The host mapping of the range carries the same rights (driver.h), and it is what the module goes by.
  return addr < kWindowStart || len > kWindowTop - addr ? -EINVAL : 0;
}

int KkmMachine::fill(uint64_t addr, uint64_t, uint64_t, uint32_t) {
  // The module fills by itself; a fault reaches the monitor when the host mapping was against it at that moment.
  std::lock_guard<std::mutex> guard(lock_);
  refills_ = addr == refilled_ ? refills_ + 1 : 0;
  refilled_ = addr;
  return refills_ < kMostRefills ? 0 : -EFAULT;
}

int KkmMachine::map_private(uint64_t gva, const void* hva, uint64_t len, uint32_t access) {
  std::lock_guard<std::mutex> guard(lock_);
  if (gva < kPrivateMaps || gva + len > kSupervisorBase) return -EINVAL;
  if (!has_pages(hva)) return -EOPNOTSUPP;
  static_assert(kRead == KKM_PROT_READ && kWrite == KKM_PROT_WRITE && kExec == KKM_PROT_EXEC);
  return show(gva, const_cast<void*>(hva), len, access);
}

std::unique_ptr<Vcpu> KkmMachine::create_vcpu(int* error) {
  VcpuSlot slot;
  bool reused = false;
  {
    std::lock_guard<std::mutex> guard(lock_);
    reused = vcpus_.reuse(&slot);
    if (int rc = reused ? 0 : vcpus_.open(&slot); rc != 0) {
      *error = -rc;
      return nullptr;
    }
  }
  auto vcpu = std::make_unique<KkmVcpu>(*this, slot);
  if (int rc = vcpu->reset(reused); rc != 0) {
    *error = -rc;
    return nullptr;
  }
  return vcpu;
}

void KkmMachine::release_vcpu(const VcpuSlot& slot) {
  if (vm_fd_ < 0) return;  // abandoned: closed already, and the lock may be a lost thread's
  std::lock_guard<std::mutex> guard(lock_);
  vcpus_.give_back(slot);
}

namespace {

class KkmDriver final : public Device {
 public:
  using Device::Device;

  int init(const char** what) {
    if (int rc = read_limits(what); rc != 0) return rc;
    *what = "KKM_CAP_ABI";
    if (extension(KKM_CAP_ABI) != KKM_ABI_VERSION) return -EOPNOTSUPP;
    capabilities_.guest_phys_bits = 47;  // slots are monitor addresses
    capabilities_.is_kkm = true;
    reap_strays();
    return 0;
  }

  std::unique_ptr<Machine> create_machine(const MachineOptions& options, int* error, const char** what) override {
    *what = "CPUID vendor (KKM guests execute CPUID natively)";
    *error = EOPNOTSUPP;
    if (options.kontain_vendor_id) return nullptr;
    int vm = create_vm(what);
    if (vm < 0) {
      *error = -vm;
      return nullptr;
    }
    auto machine = std::make_unique<KkmMachine>(fd_, vm, capabilities_.max_vcpus);
    if (int rc = machine->init(what); rc != 0) {
      *error = -rc;
      return nullptr;
    }
    return machine;
  }
};

}  // namespace

bool is_kkm(int device_fd) { return ioctl(device_fd, KKM_GET_IDENTITY, 0) == KKM_IDENTITY; }

std::unique_ptr<Driver> make_driver(int device_fd, const char* path, int* error, const char** what) {
  auto driver = std::make_unique<KkmDriver>(device_fd, path);
  if (int rc = driver->init(what); rc != 0) {
    *error = -rc;
    return nullptr;
  }
  return driver;
}

}  // namespace km::kkm
