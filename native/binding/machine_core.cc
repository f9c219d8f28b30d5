// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "native/binding/core.h"

namespace km::binding {
namespace {

constexpr uint8_t kInt3 = 0xcc;
constexpr Failure kDestroyed{ESHUTDOWN, "machine", "ERR_KM_DESTROYED"};

bool page_aligned(uint64_t value) { return value % kPageSize == 0; }

}  // namespace

MachineCore::MachineCore(std::shared_ptr<DriverCore> driver, std::unique_ptr<Machine> machine)
    : driver_(std::move(driver)), machine_(std::move(machine)) {}

MachineCore::~MachineCore() { destroy(); }

std::shared_ptr<Region> MachineCore::region_of(uint64_t address, uint64_t size) {
  auto next = regions_.upper_bound(address);
  if (next == regions_.begin()) return nullptr;
  const auto& region = std::prev(next)->second;
  return region->contains(address, size) ? region : nullptr;
}

Failure MachineCore::map(uint64_t address, uint64_t size, uint32_t access, std::shared_ptr<Region>* region) {
  if (machine_ == nullptr) return kDestroyed;
  const Window window = machine_->window();
  if (size == 0 || !page_aligned(size) || !page_aligned(address)) return {EINVAL, "mapMemory", "ERR_KM_ALIGNMENT"};
  if (size > window.end - window.start) return {ENOMEM, "mapMemory", "ERR_KM_WINDOW"};
  if (address != 0 && (address < window.start || address > window.end - size)) {
    return {EFAULT, "mapMemory", "ERR_KM_WINDOW"};
  }
  int error = 0;
  const char* what = "";
  std::shared_ptr<Region> made = Region::create(window, address, size, &error, &what);
  if (made == nullptr) return {error, what};
  if (int rc = made->protect(made->address(), size, access); rc != 0) return {-rc, "mprotect"};
  if (int rc = machine_->protect(made->address(), size, access); rc != 0) return {-rc, "protect"};
  std::lock_guard<std::mutex> guard(lock_);
  regions_[made->address()] = made;
  *region = std::move(made);
  return {};
}

Failure MachineCore::protect(uint64_t address, uint64_t size, uint32_t access) {
  if (machine_ == nullptr) return kDestroyed;
  if (size == 0 || !page_aligned(size) || !page_aligned(address)) return {EINVAL, "protect", "ERR_KM_ALIGNMENT"};
  std::shared_ptr<Region> region;
  {
    std::lock_guard<std::mutex> guard(lock_);
    region = region_of(address, size);
  }
  if (region == nullptr) return {EFAULT, "protect", "ERR_KM_NOT_MAPPED"};
  // The host carries all rights while the guest's change, then exactly the guest's: the mprotect that takes rights away
  // comes last and flushes what a running vCPU still holds (driver.h, Machine::protect).
  if (int rc = region->protect(address, size, kRead | kWrite | kExec); rc != 0) return {-rc, "mprotect"};
  if (int rc = machine_->protect(address, size, access); rc != 0) return {-rc, "protect"};
  if (int rc = region->protect(address, size, access); rc != 0) return {-rc, "mprotect"};
  return {};
}

Failure MachineCore::unmap(uint64_t address) {
  if (machine_ == nullptr) return kDestroyed;
  std::shared_ptr<Region> region;
  {
    std::lock_guard<std::mutex> guard(lock_);
    auto found = regions_.find(address);
    if (found == regions_.end()) return {EFAULT, "unmap", "ERR_KM_NOT_MAPPED"};
    region = found->second;
    regions_.erase(found);
    breakpoints_.erase(breakpoints_.lower_bound(address), breakpoints_.lower_bound(address + region->size()));
    count_breakpoints();
  }
  int rc = machine_->protect(address, region->size(), kHidden);
  region->unmap_guest();
  if (rc != 0) return {-rc, "protect"};
  return {};
}

Failure MachineCore::create_vcpu(std::shared_ptr<VcpuCore>* vcpu) {
  if (machine_ == nullptr) return kDestroyed;
  if (int rc = VcpuCore::kick_signal(); rc < 0) return {-rc, "sigaction"};
  int error = 0;
  std::unique_ptr<Vcpu> made = machine_->create_vcpu(&error);
  if (made == nullptr) return {error, "KVM_CREATE_VCPU", error == EAGAIN ? "ERR_KM_NO_VCPU" : ""};
  *vcpu = std::make_shared<VcpuCore>(shared_from_this(), std::move(made));
  vcpus_.insert(vcpu->get());
  return {};
}

void MachineCore::forget(VcpuCore* vcpu) { vcpus_.erase(vcpu); }

void MachineCore::destroy() {
  for (VcpuCore* vcpu : std::set<VcpuCore*>(vcpus_)) vcpu->stop();
  machine_.reset();  // before its memory goes
  std::lock_guard<std::mutex> guard(lock_);
  breakpoints_.clear();
  count_breakpoints();
  for (auto& entry : regions_) entry.second->unmap_guest();
  regions_.clear();
}

Failure MachineCore::set_breakpoint(uint64_t address) {
  if (machine_ == nullptr) return kDestroyed;
  std::lock_guard<std::mutex> guard(lock_);
  std::shared_ptr<Region> region = region_of(address, 1);
  if (region == nullptr) return {EFAULT, "setBreakpoint", "ERR_KM_NOT_MAPPED"};
  uint8_t* byte = region->alias() + (address - region->address());
  auto [entry, fresh] = breakpoints_.try_emplace(address, Breakpoint{byte, *byte});
  if (fresh) *byte = kInt3;
  count_breakpoints();
  return {};
}

Failure MachineCore::clear_breakpoint(uint64_t address) {
  if (machine_ == nullptr) return kDestroyed;
  std::lock_guard<std::mutex> guard(lock_);
  auto found = breakpoints_.find(address);
  if (found == breakpoints_.end()) return {ENOENT, "clearBreakpoint", "ERR_KM_NO_BREAKPOINT"};
  *found->second.byte = found->second.original;
  breakpoints_.erase(found);
  count_breakpoints();
  return {};
}

bool MachineCore::has_breakpoint(uint64_t address) {
  std::lock_guard<std::mutex> guard(lock_);
  return breakpoints_.count(address) != 0;
}

bool MachineCore::lift_breakpoint(uint64_t address) {
  std::lock_guard<std::mutex> guard(lock_);
  auto found = breakpoints_.find(address);
  if (found == breakpoints_.end()) return false;
  *found->second.byte = found->second.original;
  return true;
}

void MachineCore::plant_breakpoint(uint64_t address) {
  std::lock_guard<std::mutex> guard(lock_);
  auto found = breakpoints_.find(address);
  if (found != breakpoints_.end()) *found->second.byte = kInt3;
}

}  // namespace km::binding
