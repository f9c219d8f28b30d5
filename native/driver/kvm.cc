// SPDX-License-Identifier: Apache-2.0
// Device and machine level of /dev/kvm (Documentation/virt/kvm/api.rst).
#include "native/driver/kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <x86intrin.h>

#include <algorithm>

#include "native/base/private_fd.h"
#include "native/driver/cpuid_cache.h"
#include "native/driver/device.h"
#include "native/driver/kvm_layout.h"
#include "native/driver/kvm_machine.h"

namespace km::kvm {
namespace {

// Numbers as C has them (device.h).
struct CpuidHeader {
  uint32_t count, padding;
};
struct MsrHeader {
  uint32_t count, padding;
};
constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, CpuidHeader);
constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, CpuidHeader);
constexpr unsigned long kSetMsrs = _IOW(KVMIO, 0x89, MsrHeader);
static_assert(kGetSupportedCpuid == 0xC008AE05 && kSetCpuid2 == 0x4008AE90 && kSetMsrs == 0x4008AE89);

constexpr unsigned kCpuidEntries = 256;
constexpr uint64_t kMsrTsc = 0x10, kMsrStar = 0xc0000081, kMsrLstar = 0xc0000082, kMsrFmask = 0xc0000084;
constexpr int kCapXsave2 = 208;

constexpr uint64_t kCr0 = 0x80050033;  // PG AM WP NE ET MP PE
constexpr uint64_t kCr4 = 0x50620;     // OSXSAVE FSGSBASE OSXMMEXCPT OSFXSR PAE
constexpr uint64_t kCr4FsGsBase = 1 << 16, kCr4OsXsave = 1 << 18;
constexpr uint64_t kEfer = 0xd01;      // NXE LMA LME SCE

constexpr char kVendorWords[2][5] = {"Kont", "ain"};

class KvmDriver final : public Device {
 public:
  using Device::Device;

  int init(const char** what) {
    if (int rc = read_limits(what); rc != 0) return rc;
    *what = "KVM_CAP_SYNC_REGS";
    constexpr int kNeeded = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
    if ((extension(KVM_CAP_SYNC_REGS) & kNeeded) != kNeeded) return -EOPNOTSUPP;
    *what = "KVM_CAP_IMMEDIATE_EXIT";
    return extension(KVM_CAP_IMMEDIATE_EXIT) > 0 ? 0 : -EOPNOTSUPP;
  }

  std::unique_ptr<Machine> create_machine(const MachineOptions& options, int* error, const char** what) override {
    int vm = create_vm(what);
    if (vm < 0) {
      *error = -vm;
      return nullptr;
    }
    auto machine = std::make_unique<KvmMachine>(fd_, vm, capabilities_);
    if (int rc = machine->init(options, what); rc != 0) {
      *error = -rc;
      return nullptr;
    }
    return machine;
  }
};

kvm_segment segment(uint16_t selector, uint8_t type, uint8_t dpl, bool code) {
  kvm_segment s{};
  s.limit = 0xffffffff;
  s.selector = selector;
  s.type = type;
  s.present = 1;
  s.dpl = dpl;
  s.s = 1;
  s.g = 1;
  s.l = code;
  s.db = !code;
  return s;
}

}  // namespace

std::unique_ptr<Driver> make_driver(int device_fd, const char* path, int* error, const char** what) {
  auto driver = std::make_unique<KvmDriver>(device_fd, path);
  if (int rc = driver->init(what); rc != 0) {
    *error = -rc;
    return nullptr;
  }
  return driver;
}

KvmMachine::KvmMachine(int device_fd, int vm_fd, const Capabilities& capabilities)
    : device_fd_(device_fd), vm_fd_(vm_fd), capabilities_(capabilities) {}

KvmMachine::~KvmMachine() { abandon(); }

// Takes no lock: in a forked child a lost thread may hold it, and nobody else is there.
void KvmMachine::abandon() {
  vcpus_.close_all();
  if (vm_fd_ >= 0) close_private_fd(vm_fd_);
  vm_fd_ = -1;
}

int KvmMachine::init(const MachineOptions& options, const char** what) {
  *what = "KVM_GET_VCPU_MMAP_SIZE";
  int run_size = ioctl(device_fd_, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_size < 0) return -errno;
  vcpus_.init(vm_fd_, static_cast<size_t>(run_size), std::min(kMaxVcpus, capabilities_.max_vcpus));
  int xsave = ioctl(vm_fd_, KVM_CHECK_EXTENSION, kCapXsave2);
  has_xsave2_ = xsave > 0;
  kvm_xsave_size_ = static_cast<size_t>(std::max(4096, xsave));

  *what = "KVM_GET_SUPPORTED_CPUID";
  if (int rc = read_cpuid(options); rc != 0) return rc;

  unsigned bits = options.phys_bits != 0 ? options.phys_bits : capabilities_.guest_phys_bits;
  uint64_t top = 1ull << std::min(bits, 46u);
  uint64_t reserve = (top / 512 + 8 * kLarge) & ~(kLarge - 1);
  window_ = {kWindowStart, kWindowTop};
  if (top < kWindowTop + kLarge + 2 * kGiant) {
    window_.end = top - reserve - kLarge;
  } else {
    reserve = 2 * kGiant;
  }
  next_private_gpa_ = window_.end + kLarge + reserve;
  slots_.init(*this, window_);

  *what = "memory for page tables";
  if (int rc = area_.init(*this, window_.end + kLarge, reserve - kLarge); rc != 0) return rc;
  next_private_gpa_ = window_.end + reserve;
  if (int rc = tables_.init(area_); rc != 0) return rc;
  if (int rc = guest_.init(area_, tables_); rc != 0) return rc;
  *what = "CPUID vendor (guests of this device execute CPUID natively)";
  return options.kontain_vendor_id ? prove_vendor() : 0;
}

/// Runs a guest that asks for the vendor: where the host's KVM is software (PVM), CPUID need not trap.
int KvmMachine::prove_vendor() {
  int error = 0;
  std::unique_ptr<Vcpu> vcpu = create_vcpu(&error);
  if (vcpu == nullptr) return -error;
  vcpu->regs().rip = kVendorProbe;
  if (vcpu->run().kind != ExitKind::kSyscall) return -EIO;
  return memcmp(&vcpu->regs().rbx, kVendorWords[0], 4) == 0 ? 0 : -EOPNOTSUPP;
}

int KvmMachine::fetch_cpuid() {
  if (load_cpuid(device_fd_, &cpuid_) && cpuid_.size() >= sizeof(CpuidHeader)) {
    CpuidHeader header;
    memcpy(&header, cpuid_.data(), sizeof header);
    if (header.count <= kCpuidEntries && cpuid_.size() == sizeof header + header.count * sizeof(kvm_cpuid_entry2)) {
      return 0;
    }
  }
  cpuid_.assign(sizeof(CpuidHeader) + kCpuidEntries * sizeof(kvm_cpuid_entry2), 0);
  CpuidHeader* header = reinterpret_cast<CpuidHeader*>(cpuid_.data());  // layout of struct kvm_cpuid2
  header->count = kCpuidEntries;
  if (ioctl(device_fd_, kGetSupportedCpuid, header) != 0) return -errno;
  cpuid_.resize(sizeof(CpuidHeader) + header->count * sizeof(kvm_cpuid_entry2));
  store_cpuid(device_fd_, cpuid_);
  return 0;
}

int KvmMachine::read_cpuid(const MachineOptions& options) {
  if (int rc = fetch_cpuid(); rc != 0) return rc;
  CpuidHeader* header = reinterpret_cast<CpuidHeader*>(cpuid_.data());
  auto* entries = reinterpret_cast<kvm_cpuid_entry2*>(header + 1);
  capabilities_.guest_phys_bits = 36;
  for (uint32_t i = 0; i < header->count; i++) {
    kvm_cpuid_entry2& e = entries[i];
    if (e.function == 0x80000008) capabilities_.guest_phys_bits = e.eax & 0xff;
    if (e.function == 0xd && e.index == 0) {
      xcr0_ = (uint64_t{e.edx} << 32 | e.eax) & ~kTileState;
      e.eax = static_cast<uint32_t>(xcr0_);
    }
    // Sub-leaf n describes state component n: size in eax, offset in ebx (SDM vol. 1, 13.2).
    if (e.function == 0xd && e.index >= 2 && e.index < 63 && (xcr0_ >> e.index & 1)) {
      xstate_size_ = std::max<size_t>(xstate_size_, e.eax + e.ebx);
    }
    if (e.function == 0 && options.kontain_vendor_id) {
      memcpy(&e.ebx, kVendorWords[0], 4);
      memcpy(&e.edx, kVendorWords[1], 4);
      memset(&e.ecx, 0, 4);
    }
  }
  return 0;
}

int KvmMachine::add_slot(uint64_t gpa, uint64_t len, void* hva) {
  // The host range outlives the machine or is unmapped by the payload's own calls, which KVM follows.
  kvm_userspace_memory_region region{next_slot_, 0, gpa, len, reinterpret_cast<uint64_t>(hva)};
  if (next_slot_ >= capabilities_.max_slots) return -ENOMEM;
  if (ioctl(vm_fd_, KVM_SET_USER_MEMORY_REGION, &region) != 0) return -errno;
  next_slot_++;
  return 0;
}

int KvmMachine::protect(uint64_t addr, uint64_t len, uint32_t access) {
  std::lock_guard<std::mutex> guard(lock_);
  if (addr < window_.start || addr + len > window_.end) return -EINVAL;
  if (access == kHidden) return tables_.set_window(addr, len, access);
  if (len <= kGiant) {
    if (int rc = slots_.ensure(addr, addr + len); rc != 0) return rc;
    return tables_.set_window(addr, len, access);
  }
  // Huge mappings are mostly never touched: only what has slots becomes visible, the rest on demand (fill).
  for (uint64_t at = addr; at < addr + len;) {
    uint64_t to = std::min(addr + len, slots_.boundary(at));
    if (int rc = tables_.set_window(at, to - at, slots_.covers(at) ? access : kHidden); rc != 0) return rc;
    at = to;
  }
  return 0;
}

int KvmMachine::fill(uint64_t addr, uint64_t lo, uint64_t hi, uint32_t access) {
  std::lock_guard<std::mutex> guard(lock_);
  uint64_t from = std::max({lo, addr & ~(kGiant - 1), window_.start});
  uint64_t to = std::min({hi, (addr & ~(kGiant - 1)) + kGiant, window_.end});
  if (addr < from || addr >= to) return -EFAULT;
  if (int rc = slots_.ensure(from, to); rc != 0) return rc;
  return tables_.set_window(from, to - from, access);
}

int KvmMachine::map_private(uint64_t gva, const void* hva, uint64_t len, uint32_t access) {
  std::lock_guard<std::mutex> guard(lock_);
  uint64_t gpa = next_private_gpa_;
  if (gva < kPrivateMaps || gva + len > kSupervisorBase) return -EINVAL;
  if (int rc = add_slot(gpa, len, const_cast<void*>(hva)); rc != 0) return rc;
  next_private_gpa_ += len;
  for (uint64_t at = 0; at < len; at += kPage) tables_.set_special(gva + at, gpa + at, access, true);
  return 0;
}

std::unique_ptr<Vcpu> KvmMachine::create_vcpu(int* error) {
  VcpuSlot slot;
  bool reused = false;
  {
    std::lock_guard<std::mutex> guard(lock_);
    reused = vcpus_.reuse(&slot);
    if (int rc = reused ? 0 : open_vcpu(&slot); rc != 0) {
      *error = -rc;
      return nullptr;
    }
  }
  auto vcpu = std::make_unique<KvmVcpu>(*this, slot);
  kvm_sregs sregs = sregs_;
  sregs.tr.base = task_page(slot.index) + kTssOffset;
  sregs.tr.limit = static_cast<uint32_t>(bitmap_offset(slot.index) + kPage + kOpenBytes);
  sregs.gs.base = vcpu->cell_address();
  if (int rc = vcpu->reset(sregs, reused); rc != 0) {
    *error = -rc;
    return nullptr;
  }
  return vcpu;
}

int KvmMachine::open_vcpu(VcpuSlot* slot) {
  if (int rc = vcpus_.open(slot); rc != 0) return rc;
  guest_.init_task(slot->index);
  return init_vcpu(*slot);  // one that fails here is not used again
}

/// The part of a vCPU's state that never changes after creation.
int KvmMachine::init_vcpu(const VcpuSlot& slot) {
  if (ioctl(slot.fd, kSetCpuid2, cpuid_.data()) != 0) return -errno;
  if (slot.index == 0) {
    if (ioctl(slot.fd, KVM_GET_SREGS, &sregs_) != 0) return -errno;
    sregs_.cr0 = kCr0;
    sregs_.cr3 = tables_.root();
    sregs_.cr4 = kCr4;
    sregs_.efer = kEfer;
    sregs_.cs = segment(kUserCs, 11, 3, true);
    sregs_.ss = segment(kUserSs, 3, 3, false);
    sregs_.ds = sregs_.es = sregs_.fs = sregs_.gs = segment(0, 3, 3, false);
    sregs_.tr = kvm_segment{};
    sregs_.tr.selector = kTaskSelector;
    sregs_.tr.type = 11;
    sregs_.tr.present = 1;
    sregs_.gdt.base = kDescriptors;
    sregs_.gdt.limit = kGdtEntries * 8 - 1;
    sregs_.idt.base = kDescriptors + kIdtOffset;
    sregs_.idt.limit = 32 * 16 - 1;
  }
  struct {
    MsrHeader header;
    kvm_msr_entry entries[3];
  } msrs{{3, 0},
         {{kMsrStar, 0, uint64_t{0x23} << 48 | uint64_t{kKernelCs} << 32},
          {kMsrLstar, 0, kTrampoline},
          {kMsrFmask, 0, 0x47700}}};  // TF IF DF IOPL NT AC
  int set = ioctl(slot.fd, kSetMsrs, &msrs);
  if (set != 3) return set < 0 ? -errno : -EIO;
  kvm_xcrs xcrs{};
  xcrs.nr_xcrs = 1;
  xcrs.xcrs[0].value = xcr0_;
  if (ioctl(slot.fd, KVM_SET_XCRS, &xcrs) != 0) return -errno;
  // The payload's vdso clock combines the host's vvar page with its own TSC: they must agree.
  uint64_t offset = 0;
  kvm_device_attr attr{0, KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, reinterpret_cast<uint64_t>(&offset)};
  if (ioctl(slot.fd, KVM_SET_DEVICE_ATTR, &attr) == 0) return 0;
  struct {
    MsrHeader header;
    kvm_msr_entry entry;
  } tsc{{1, 0}, {kMsrTsc, 0, __rdtsc()}};
  return ioctl(slot.fd, kSetMsrs, &tsc) == 1 ? 0 : -EIO;
}

void KvmMachine::release_vcpu(const VcpuSlot& slot) {
  if (vm_fd_ < 0) return;  // abandoned: closed already, and the lock may be a lost thread's
  std::lock_guard<std::mutex> guard(lock_);
  vcpus_.give_back(slot);
}

}  // namespace km::kvm
