// SPDX-License-Identifier: Apache-2.0
#include "native/driver/kvm_tables.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>

#include "native/driver/kvm_layout.h"

// Guest code in kvm_entry.S.
extern "C" const uint8_t km_guest_syscall[], km_guest_syscall_end[];
extern "C" const uint8_t km_guest_gates[], km_guest_gates_iret[], km_guest_gates_end[];

namespace km::kvm {
namespace {

// Page-table entry bits (SDM vol. 3, 4.5.4).
constexpr uint64_t kPresent = 1, kWritable = 2, kUser = 4, kAccessed = 0x20, kDirty = 0x40, kLeaf = 0x80;
constexpr uint64_t kNoExecute = 1ull << 63;
constexpr uint64_t kTable = kPresent | kWritable | kUser | kAccessed;
constexpr unsigned kEntries = 512;

uint64_t rights(uint32_t access, bool user) {
  if (access == kHidden) return 0;
  uint64_t bits = kPresent | kAccessed | kDirty;
  if (user) bits |= kUser;
  if (access & kWrite) bits |= kWritable;
  if (!(access & kExec)) bits |= kNoExecute;
  return bits;
}

// Other vCPUs walk these tables while we write them: single 64-bit stores, tables filled before they are linked.
void store(uint8_t* page, unsigned index, uint64_t value) {
  __atomic_store_n(reinterpret_cast<uint64_t*>(page) + index, value, __ATOMIC_RELEASE);
}
uint64_t load(const uint8_t* page, unsigned index) {
  return __atomic_load_n(reinterpret_cast<const uint64_t*>(page) + index, __ATOMIC_RELAXED);
}

}  // namespace

SystemArea::~SystemArea() {
  if (base_ != nullptr) munmap(base_, limit_);
}

int SystemArea::init(SlotSink& slots, uint64_t gpa, uint64_t limit) {
  void* base = mmap(nullptr, limit, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return -errno;
  slots_ = &slots;
  base_ = static_cast<uint8_t*>(base);
  gpa_ = gpa;
  limit_ = limit;
  return grow();
}

int SystemArea::grow() {
  uint64_t more = std::min(std::max(backed_, kLarge), limit_ - backed_);
  if (more == 0) return -ENOMEM;
  if (mprotect(base_ + backed_, more, PROT_READ | PROT_WRITE) != 0) return -errno;
  if (int rc = slots_->add_slot(gpa_ + backed_, more, base_ + backed_); rc != 0) return rc;
  backed_ += more;
  return 0;
}

int64_t SystemArea::allocate(unsigned count) {
  uint64_t bytes = count * kPage;
  while (used_ + bytes > backed_) {
    if (int rc = grow(); rc != 0) return rc;
  }
  uint64_t index = used_ / kPage;
  used_ += bytes;
  return static_cast<int64_t>(index);
}

int PageTables::init(SystemArea& area) {
  area_ = &area;
  // root, PDPT of the window, PDPT and PD of the 512 GiB.. area, its two tables
  int64_t first = area.allocate(6);
  if (first < 0) return static_cast<int>(first);
  root_ = first;
  low_pdpt_ = first + 1;
  special_[0] = first + 4;
  special_[1] = first + 5;
  store(area.hva(root_), 0, area.gpa(low_pdpt_) | kTable);
  store(area.hva(root_), 1, area.gpa(first + 2) | kTable);
  store(area.hva(first + 2), 0, area.gpa(first + 3) | kTable);
  store(area.hva(first + 3), 0, area.gpa(special_[0]) | kTable);
  store(area.hva(first + 3), 1, area.gpa(special_[1]) | kTable);
  directories_.resize(kEntries);
  return 0;
}

void PageTables::set_special(uint64_t gva, uint64_t gpa, uint32_t access, bool user) {
  uint64_t index = (gva - kPrivateBase) / kPage;
  store(area_->hva(special_[index / kEntries]), index % kEntries, access == kHidden ? 0 : gpa | rights(access, user));
}

int PageTables::ensure_directory(uint64_t giant) {
  Directory& directory = directories_[giant];
  if (directory.page >= 0) return 0;
  int64_t page = area_->allocate(1);
  if (page < 0) return static_cast<int>(page);
  directory.tables.assign(kEntries, -1);
  directory.page = page;
  store(area_->hva(low_pdpt_), giant, area_->gpa(page) | kTable);
  return 0;
}

int PageTables::set_window(uint64_t addr, uint64_t len, uint32_t access) {
  for (uint64_t at = addr; at < addr + len;) {
    uint64_t block = at & ~(kLarge - 1);
    uint64_t to = std::min(addr + len, block + kLarge);
    if (int rc = set_block(block, at, to, access); rc != 0) return rc;
    at = to;
  }
  return 0;
}

int PageTables::set_block(uint64_t block, uint64_t from, uint64_t to, uint32_t access) {
  uint64_t giant = block / kGiant;
  if (directories_[giant].page < 0 && access == kHidden) return 0;
  if (int rc = ensure_directory(giant); rc != 0) return rc;
  Directory& directory = directories_[giant];
  unsigned index = block / kLarge % kEntries;
  uint8_t* page = area_->hva(directory.page);
  if (from == block && to == block + kLarge) {
    store(page, index, access == kHidden ? 0 : block | rights(access, true) | kLeaf);
    return 0;
  }
  uint64_t entry = load(page, index);
  if (entry == 0 && access == kHidden) return 0;
  if (!(entry & kPresent) || (entry & kLeaf)) {
    if (entry == (block | rights(access, true) | kLeaf)) return 0;
    if (int rc = split(directory, index, block); rc != 0) return rc;
  }
  uint8_t* table = area_->hva(directory.tables[index]);
  for (uint64_t at = from; at < to; at += kPage) {
    store(table, at / kPage % kEntries, access == kHidden ? 0 : at | rights(access, true));
  }
  if (access != kHidden) try_promote(directory, index, block);
  return 0;
}

int PageTables::split(Directory& directory, unsigned index, uint64_t block) {
  if (directory.tables[index] < 0) {
    int64_t page = area_->allocate(1);
    if (page < 0) return static_cast<int>(page);
    directory.tables[index] = static_cast<int32_t>(page);
  }
  uint8_t* page = area_->hva(directory.page);
  uint8_t* table = area_->hva(directory.tables[index]);
  uint64_t entry = load(page, index);
  uint64_t bits = entry & (kNoExecute | kPresent | kWritable | kUser | kAccessed | kDirty);
  for (unsigned i = 0; i < kEntries; i++) store(table, i, entry == 0 ? 0 : (block + i * kPage) | bits);
  store(page, index, area_->gpa(directory.tables[index]) | kTable);
  return 0;
}

void PageTables::try_promote(Directory& directory, unsigned index, uint64_t block) {
  const uint8_t* table = area_->hva(directory.tables[index]);
  uint64_t bits = load(table, 0) - block;
  if (!(bits & kPresent)) return;
  for (unsigned i = 1; i < kEntries; i++) {
    if (load(table, i) != (block + i * kPage) + bits) return;
  }
  store(area_->hva(directory.page), index, (block + bits) | kLeaf);
}

namespace {

void set_gate(uint8_t* idt, unsigned vector, uint64_t handler, unsigned ist, unsigned dpl) {
  uint64_t low = (handler & 0xffff) | (uint64_t{kKernelCs} << 16) | (uint64_t{ist} << 32) |
                 (uint64_t{0x8e00 | (dpl << 13)} << 32) | ((handler >> 16 & 0xffff) << 48);
  uint64_t high = handler >> 32;
  memcpy(idt + vector * 16, &low, 8);
  memcpy(idt + vector * 16 + 8, &high, 8);
}

void fill_descriptors(uint8_t* page) {
  // Accessed bits are set beforehand: the page could otherwise be written by the CPU.
  const uint64_t gdt[kGdtEntries] = {
      0, 0,
      0x00af9b000000ffff,  // 0x10 kernel code, 64-bit
      0x00cf93000000ffff,  // 0x18 kernel data
      0x00cffb000000ffff,  // 0x20 user code, 32-bit (sysret base)
      0x00cff3000000ffff,  // 0x28 user data
      0x00affb000000ffff,  // 0x30 user code, 64-bit
      0, 0, 0, 0, 0, 0, 0, 0,
      0x0040f50000000000,  // 0x78: its limit is node << 12 | processor, which the vdso's getcpu() reads by `lsl`
  };
  memcpy(page, gdt, sizeof gdt);
  for (unsigned vector = 0; vector < 32; vector++) {
    bool own_stack = vector == 2 || vector == 8 || vector == 18;  // NMI, #DF, #MC
    bool user_may = vector == 3 || vector == 4;                   // int3, into
    set_gate(page + kIdtOffset, vector, kGates + vector * 16, own_stack ? 2 : 1, user_may ? 3 : 0);
  }
}

}  // namespace

int GuestTables::init(SystemArea& area, PageTables& tables) {
  area_ = &area;
  tables_ = &tables;
  unsigned fixed = 5 + kCellPages;
  int64_t first = area.allocate(fixed + kMaxVcpus);
  if (first < 0) return static_cast<int>(first);
  deny_ = first + 3;
  cells_ = first + 5;
  tasks_ = first + fixed;

  fill_descriptors(area.hva(first));
  memcpy(area.hva(first + 1), km_guest_gates, km_guest_gates_end - km_guest_gates);
  memcpy(area.hva(first + 2), km_guest_syscall, km_guest_syscall_end - km_guest_syscall);
  // I/O bitmap: a set bit forbids. Ports below 0x8000 are closed but for the trampoline's own 0x80.
  memset(area.hva(deny_), 0xff, kPage);
  area.hva(deny_)[0x80 / 8] = 0xfe;
  memset(area.hva(deny_) + kPage - kOpenPortsBelow / 8, 0, kOpenPortsBelow / 8);
  memset(area.hva(deny_ + 1) + kOpenBytes, 0xff, 8);

  tables.set_special(kDescriptors, area.gpa(first), kRead | kWrite, false);
  tables.set_special(kGates, area.gpa(first + 1), kRead | kExec, false);
  tables.set_special(kTrampoline, area.gpa(first + 2), kRead | kExec, true);
  for (unsigned i = 0; i < kCellPages; i++) {
    tables.set_special(kCells + i * kPage, area.gpa(cells_ + i), kRead | kWrite, true);
  }
  return 0;
}

uint8_t* GuestTables::task(unsigned vcpu) const { return area_->hva(tasks_ + vcpu); }

void GuestTables::init_task(unsigned vcpu) {
  uint64_t gva = task_page(vcpu);
  uint8_t* tss = task(vcpu) + kTssOffset;
  uint64_t ist1 = gva + kIst1Top, ist2 = gva + kIst2Top;
  memcpy(tss + 4, &ist1, 8);   // RSP0, unused while every gate has an IST
  memcpy(tss + 36, &ist1, 8);  // IST1
  memcpy(tss + 44, &ist2, 8);  // IST2
  uint16_t bitmap = static_cast<uint16_t>(bitmap_offset(vcpu));
  memcpy(tss + 102, &bitmap, 2);
  tables_->set_special(gva, area_->gpa(tasks_ + vcpu), kRead | kWrite, false);
  uint64_t shared = task_page(vcpu / kGroup * kGroup) + kGroup * kPage;
  tables_->set_special(shared, area_->gpa(deny_), kRead, false);
  tables_->set_special(shared + kPage, area_->gpa(deny_ + 1), kRead, false);
}

uint64_t* GuestTables::cell(unsigned vcpu) const {
  return reinterpret_cast<uint64_t*>(area_->hva(cells_) + vcpu * kCellStride);
}

bool EntryCode::in_trampoline(uint64_t rip) { return rip - kTrampoline < kPage; }
bool EntryCode::in_gates(uint64_t rip) { return rip - kGates < kPage; }
uint64_t EntryCode::iret() { return kGates + (km_guest_gates_iret - km_guest_gates); }
uint64_t EntryCode::gates_out() { return iret() - 6; }

}  // namespace km::kvm
