// SPDX-License-Identifier: Apache-2.0
// /dev/kkm: no page tables, no descriptor tables, no trampoline. The guest's page tables are the host kernel's, filled
// from the monitor's own mappings with the rights these have, so one slot over the whole window is all there is to say.
#include "native/driver/kkm.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "kkm/include/uapi/kkm.h"
#include "native/base/private_fd.h"
#include "native/driver/companion.h"
#include "native/driver/kvm_layout.h"

namespace km::kkm {
namespace {

using kvm::kCellPages;
using kvm::kCells;
using kvm::kCellStride;
using kvm::kPage;
using kvm::kPrivateMaps;
using kvm::kSigreturn;
using kvm::kSupervisorBase;
using kvm::kTrampoline;
using kvm::kWindowStart;
using kvm::kWindowTop;

// Numbers as C has them: flexible arrays in <linux/kvm.h> of Debian 12 are another size in C++ (see kvm.cc).
struct XsaveArea {
  uint32_t region[1024];
};
constexpr unsigned long kGetXsave = _IOR(KVMIO, 0xa4, XsaveArea), kSetXsave = _IOW(KVMIO, 0xa5, XsaveArea);
static_assert(kGetXsave == 0x9000aea4 && kSetXsave == 0x5000aea5);
static_assert(sizeof(Regs) == sizeof(kvm_regs) && offsetof(Regs, rip) == offsetof(kvm_regs, rip));
static_assert(offsetof(kvm_run, hw) == KKM_RUN_EXIT_OFFSET);

constexpr uint64_t kTiles = 3ull << 17;   // AMX: a payload would have to ask the host first
constexpr uint8_t kGeneralProtection = 13;
constexpr unsigned kMostRefills = 1000;   // faults in a row on one page the VMA tree calls fine

struct VcpuSlot {
  unsigned index = 0;
  int fd = -1;
  kvm_run* run = nullptr;
};

class KkmMachine final : public Machine {
 public:
  KkmMachine(int device_fd, int vm_fd) : device_fd_(device_fd), vm_fd_(vm_fd) {}
  ~KkmMachine() override;
  int init(const char** what);

  Window window() const override { return {kWindowStart, kWindowTop}; }
  int protect(uint64_t addr, uint64_t len, uint32_t access) override;
  int fill(uint64_t addr, uint64_t lo, uint64_t hi, uint32_t access) override;
  int map_private(uint64_t gva, const void* hva, uint64_t len, uint32_t access) override;
  std::unique_ptr<Vcpu> create_vcpu(int* error) override;
  uint64_t sigreturn_address() const override { return kSigreturn; }
  size_t xstate_size() const override { return xstate_size_; }
  uint64_t xcr0() const override { return xcr0_; }
  const char* kind() const override { return "kkm"; }
  void abandon() override;

  // For KkmVcpu.
  int await_companion();
  void release_vcpu(const VcpuSlot& slot);
  uint64_t* cell(unsigned index) const { return cells_ + index * kCellStride / sizeof(uint64_t); }

 private:
  int show(uint64_t gva, void* hva, uint64_t len, uint32_t prot);
  int make_private_pages();
  void read_xstate_layout();
  int open_slot(VcpuSlot* slot);

  int device_fd_, vm_fd_;
  pid_t companion_ = -1;
  std::atomic<bool> born_{false};
  std::mutex lock_;  // slots, vCPU pool
  unsigned next_slot_ = 0, next_vcpu_ = 0;
  std::vector<VcpuSlot> idle_;
  size_t run_size_ = 0;
  uint64_t xcr0_ = 3;
  size_t xstate_size_ = 576;  // legacy area and header; read_xstate_layout adds the components
  uint8_t* code_ = nullptr;   // one page, the payload's way back from a signal handler
  uint64_t* cells_ = nullptr;
  uint64_t refilled_ = 0;
  unsigned refills_ = 0;
};

class KkmVcpu final : public Vcpu {
 public:
  KkmVcpu(KkmMachine& machine, VcpuSlot slot) : machine_(machine), slot_(slot) {}
  ~KkmVcpu() override { machine_.release_vcpu(slot_); }

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
  uint64_t cell_address() const override { return kCells + slot_.index * kCellStride; }
  uint64_t* cell() override { return machine_.cell(slot_.index); }

 private:
  Exit classify();
  int state_ioctl(unsigned long request, void* image);

  KkmMachine& machine_;
  VcpuSlot slot_;
};

// --- vCPU -------------------------------------------------------------------------------------------------------------

bool canonical(uint64_t addr) { return static_cast<uint64_t>(static_cast<int64_t>(addr << 16) >> 16) == addr; }

int KkmVcpu::reset(bool reused) {
  kvm_run* run = slot_.run;
  run->immediate_exit = 0;
  run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  memset(&run->s.regs, 0, sizeof run->s.regs);
  regs().rflags = 2;
  run->s.regs.sregs.gs.base = cell_address();
  *cell() = 0;
  if (!reused) return 0;  // the module starts a thread in the initial vector state
  // XSTATE_BV 0 asks for the initial configuration of everything but MXCSR (SDM vol. 1, 13.6).
  std::vector<uint8_t> state(machine_.xstate_size(), 0);
  constexpr uint16_t fcw = 0x37f;
  constexpr uint32_t mxcsr = 0x1f80;
  memcpy(state.data(), &fcw, sizeof fcw);
  memcpy(state.data() + 24, &mxcsr, sizeof mxcsr);
  return set_xstate(state.data());
}

Exit KkmVcpu::run() {
  if (!canonical(regs().rip)) {
    // Like Linux at a return to such an address.
    return Exit{.kind = ExitKind::kException, .vector = kGeneralProtection};
  }
  if (int rc = machine_.await_companion(); rc != 0) {
    return Exit{.kind = ExitKind::kFailed, .detail = static_cast<uint32_t>(-rc)};
  }
  kvm_run* run = slot_.run;
  run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
  // KVM_RUN: registers travel in the run page (SYNC_REGS).
  if (ioctl(slot_.fd, KVM_RUN, 0) == 0) return classify();
  switch (errno) {
    case EINTR:
      return Exit{.kind = ExitKind::kInterrupted};
    case EIO:
      return Exit{.kind = ExitKind::kShutdown};
    default:
      return Exit{.kind = ExitKind::kFailed, .detail = static_cast<uint32_t>(errno)};
  }
}

Exit KkmVcpu::classify() {
  const kvm_run* run = slot_.run;
  if (run->exit_reason == KKM_EXIT_SYSCALL) return Exit{.kind = ExitKind::kSyscall};
  if (run->exit_reason == KVM_EXIT_IO) {
    return Exit{.kind = ExitKind::kIo,
                .size = run->io.size,
                .is_in = run->io.direction == KVM_EXIT_IO_IN,
                .port = run->io.port,
                .count = run->io.count};
  }
  if (run->exit_reason == KVM_EXIT_EXCEPTION) {
    kkm_exception x;
    memcpy(&x, &run->hw, sizeof x);
    return Exit{.kind = ExitKind::kException,
                .vector = static_cast<uint8_t>(x.vector),
                .error_code = x.error_code,
                .address = x.cr2};
  }
  return Exit{.kind = ExitKind::kFailed, .detail = run->exit_reason};
}

SegmentBases KkmVcpu::bases() { return {slot_.run->s.regs.sregs.fs.base, slot_.run->s.regs.sregs.gs.base}; }

void KkmVcpu::set_bases(const SegmentBases& bases) {
  slot_.run->s.regs.sregs.fs.base = bases.fs;
  slot_.run->s.regs.sregs.gs.base = bases.gs;
  slot_.run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
}

/// Unlike KVM's these may wait: for the vCPU's thread, which the companion is still to make.
int KkmVcpu::state_ioctl(unsigned long request, void* image) {
  while (ioctl(slot_.fd, request, image) != 0) {
    if (errno != EINTR) return -errno;
  }
  return 0;
}

int KkmVcpu::get_xstate(void* buffer) {
  // Without tiles an image is at most 4096 bytes, KVM_GET_XSAVE's size; the module leaves them out of this one.
  XsaveArea image;
  if (int rc = machine_.await_companion(); rc != 0) return rc;
  if (int rc = state_ioctl(kGetXsave, &image); rc != 0) return rc;
  memcpy(buffer, &image, std::min(sizeof image, machine_.xstate_size()));
  return 0;
}

int KkmVcpu::set_xstate(const void* buffer) {
  XsaveArea image{};
  if (int rc = machine_.await_companion(); rc != 0) return rc;
  memcpy(&image, buffer, std::min(sizeof image, machine_.xstate_size()));
  return state_ioctl(kSetXsave, &image);
}

// --- machine ----------------------------------------------------------------------------------------------------------

KkmMachine::~KkmMachine() {
  const pid_t companion = companion_;
  abandon();
  if (companion > 0) reap_companion(companion);
  if (code_ != nullptr) munmap(code_, kPage);
  if (cells_ != nullptr) munmap(cells_, kCellPages * kPage);
}

void KkmMachine::abandon() {
  std::lock_guard<std::mutex> guard(lock_);
  for (const VcpuSlot& slot : idle_) {
    munmap(slot.run, run_size_);
    close_private_fd(slot.fd);
  }
  idle_.clear();
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

/// A child was forked to be the companion; by the first entry it mostly is. 0 or -errno.
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
  xcr0_ = (uint64_t{d} << 32 | a) & ~kTiles;
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
  run_size_ = static_cast<size_t>(run_size);
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

/// Whether other address spaces can be shown the memory: not so the kernel's own clock pages ([vvar]).
bool has_pages(const void* hva) {
  char byte;
  iovec here{&byte, 1}, there{const_cast<void*>(hva), 1};
  return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 1;
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
    if (!idle_.empty()) {
      slot = idle_.back();
      idle_.pop_back();
      reused = true;
    } else if (int rc = open_slot(&slot); rc != 0) {
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

int KkmMachine::open_slot(VcpuSlot* slot) {
  if (next_vcpu_ >= kMaxVcpus) return -EAGAIN;
  int fd = ioctl(vm_fd_, KVM_CREATE_VCPU, next_vcpu_);
  if (fd < 0) return -errno;
  int moved = make_private_fd(fd);
  if (moved < 0) {
    close(fd);
    return moved;
  }
  void* run = mmap(nullptr, run_size_, PROT_READ | PROT_WRITE, MAP_SHARED, moved, 0);
  if (run == MAP_FAILED) {
    int error = errno;
    close_private_fd(moved);
    return -error;
  }
  *slot = {next_vcpu_++, moved, static_cast<kvm_run*>(run)};
  return 0;
}

void KkmMachine::release_vcpu(const VcpuSlot& slot) {
  std::lock_guard<std::mutex> guard(lock_);
  if (vm_fd_ >= 0) {
    idle_.push_back(slot);
    return;
  }
  munmap(slot.run, run_size_);
  close_private_fd(slot.fd);
}

// --- device -----------------------------------------------------------------------------------------------------------

class KkmDriver final : public Driver {
 public:
  KkmDriver(int fd, const char* path) : fd_(fd), path_(path) {}
  ~KkmDriver() override { close_private_fd(fd_); }

  const Capabilities& capabilities() const override { return capabilities_; }
  const char* path() const override { return path_.c_str(); }

  int init(const char** what) {
    *what = "KVM_GET_API_VERSION";
    capabilities_.api_version = ioctl(fd_, KVM_GET_API_VERSION, 0);
    if (capabilities_.api_version != KVM_API_VERSION) return -ENODEV;
    *what = "KKM_CAP_ABI";
    if (extension(KKM_CAP_ABI) != KKM_ABI_VERSION) return -EOPNOTSUPP;
    capabilities_.max_vcpus = static_cast<unsigned>(extension(KVM_CAP_MAX_VCPUS));
    capabilities_.max_slots = static_cast<unsigned>(extension(KVM_CAP_NR_MEMSLOTS));
    capabilities_.guest_phys_bits = 47;  // slots are monitor addresses
    capabilities_.is_kkm = true;
    reap_strays();
    return 0;
  }

  std::unique_ptr<Machine> create_machine(const MachineOptions& options, int* error, const char** what) override {
    *what = "CPUID vendor (KKM guests execute CPUID natively)";
    *error = EOPNOTSUPP;
    if (options.kontain_vendor_id) return nullptr;
    *what = "KVM_CREATE_VM";
    int vm = ioctl(fd_, KVM_CREATE_VM, 0);
    while (vm < 0 && errno == EINTR) vm = ioctl(fd_, KVM_CREATE_VM, 0);
    if (vm < 0) {
      *error = errno;
      return nullptr;
    }
    int moved = make_private_fd(vm);
    if (moved < 0) {
      close(vm);
      *error = -moved;
      *what = "descriptor for the machine";
      return nullptr;
    }
    auto machine = std::make_unique<KkmMachine>(fd_, moved);
    if (int rc = machine->init(what); rc != 0) {
      *error = -rc;
      return nullptr;
    }
    return machine;
  }

 private:
  int extension(unsigned long cap) { return ioctl(fd_, KVM_CHECK_EXTENSION, cap); }
  int fd_;
  std::string path_;
  Capabilities capabilities_;
};

}  // namespace

bool is_kkm(int device_fd) { return ioctl(device_fd, KKM_GET_IDENTITY, 0) == KKM_IDENTITY; }

std::unique_ptr<Driver> make_driver(int device_fd, const char* path, int* error, const char** what) {
  *what = "descriptor for the device";
  int moved = make_private_fd(device_fd);
  if (moved < 0) {
    *error = -moved;
    return nullptr;
  }
  auto driver = std::make_unique<KkmDriver>(moved, path);
  if (int rc = driver->init(what); rc != 0) {
    *error = -rc;
    return nullptr;
  }
  return driver;
}

}  // namespace km::kkm
