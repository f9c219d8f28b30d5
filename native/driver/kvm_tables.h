// SPDX-License-Identifier: Apache-2.0
// Memory a KVM machine keeps for itself: page tables, descriptor tables, gates, TSS pages, hypercall cells.
//
// All of it lives in the *system area*, host memory outside the payload's window, at guest-physical addresses behind
// the window. Window pages are identity-mapped (guest virtual == guest physical == host virtual).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "native/driver/driver.h"

namespace km::kvm {

/// Registers [gpa, gpa+len) -> hva with the device; returns 0 or -errno.
class SlotSink {
 public:
  virtual ~SlotSink() = default;
  virtual int add_slot(uint64_t gpa, uint64_t len, void* hva) = 0;
};

/// Hands out guest pages of the system area; grows geometrically, slot by slot.
class SystemArea {
 public:
  ~SystemArea();
  int init(SlotSink& slots, uint64_t gpa, uint64_t limit);
  /// Page index of `count` fresh zeroed consecutive pages, or -ENOMEM.
  int64_t allocate(unsigned count);
  uint64_t gpa(uint64_t index) const { return gpa_ + index * 0x1000; }
  uint8_t* hva(uint64_t index) const { return base_ + index * 0x1000; }

 private:
  int grow();
  SlotSink* slots_ = nullptr;
  uint8_t* base_ = nullptr;
  uint64_t gpa_ = 0, limit_ = 0, backed_ = 0, used_ = 0;
};

/// Four-level page tables. Accessed and dirty bits are always set: nobody reads them, and on shadow-paging hosts
/// they let KVM map neighbours of a faulting page (it skips entries without them).
///
/// A table page, once it serves a 2 MiB block, stays with that block for good: under shadow paging the monitor's
/// writes to table pages are not trapped, so a recycled page could meet stale shadow entries of its former block.
class PageTables {
 public:
  int init(SystemArea& area);
  uint64_t root() const { return area_->gpa(root_); }

  /// Sets the rights of identity-mapped window pages. Returns 0 or -ENOMEM.
  int set_window(uint64_t addr, uint64_t len, uint32_t access);

  /// Maps one page of the private or supervisor area (the two 2 MiB blocks behind the window).
  void set_special(uint64_t gva, uint64_t gpa, uint32_t access, bool user);

 private:
  struct Directory {
    int64_t page = -1;            // page directory in the system area
    std::vector<int32_t> tables;  // table page per 2 MiB block, -1: never needed
  };
  int set_block(uint64_t block, uint64_t from, uint64_t to, uint32_t access);
  int ensure_directory(uint64_t giant);
  int split(Directory& directory, unsigned index, uint64_t block);
  void try_promote(Directory& directory, unsigned index, uint64_t block);

  SystemArea* area_ = nullptr;
  int64_t root_ = 0, low_pdpt_ = 0, special_[2] = {0, 0};
  std::vector<Directory> directories_;
};

/// Descriptor tables, gates, trampoline, I/O bitmap, per-vCPU task pages and hypercall cells.
class GuestTables {
 public:
  int init(SystemArea& area, PageTables& tables);
  /// Fills the vCPU's page (TSS and stacks) and maps it.
  void init_task(unsigned vcpu);
  /// The monitor's alias of that page.
  uint8_t* task(unsigned vcpu) const;
  uint64_t* cell(unsigned vcpu) const;

 private:
  SystemArea* area_ = nullptr;
  PageTables* tables_ = nullptr;
  int64_t deny_ = 0, cells_ = 0, tasks_ = 0;
};

/// Addresses of the guest code after GuestTables::init.
struct EntryCode {
  static bool in_trampoline(uint64_t rip);
  static bool in_gates(uint64_t rip);
  static uint64_t iret();        ///< guest address of the gates' `iretq`
  static uint64_t gates_out();   ///< guest address of the gates' `out`
};

}  // namespace km::kvm
