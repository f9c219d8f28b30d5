// SPDX-License-Identifier: Apache-2.0
// Memory of a guest inside a Node process: one anonymous file mapped twice.
//
// The guest's mapping sits in the machine's window (guest virtual == host virtual) and carries the guest's rights; the
// alias elsewhere stays readable and writable, so that a view JavaScript holds never faults, whatever protect() did.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "native/driver/driver.h"

namespace km::binding {

class Region {
 public:
  /// Maps `size` bytes (page-aligned) at `address`, or at a free address of `window` when it is 0. Never replaces what
  /// is mapped already. Returns nullptr with errno in *error and the failing call in *what.
  static std::shared_ptr<Region> create(Window window, uint64_t address, uint64_t size, int* error,
                                        const char** what);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  uint64_t address() const { return address_; }
  uint64_t size() const { return size_; }
  uint8_t* alias() const { return alias_; }

  bool contains(uint64_t address, uint64_t size) const {
    return address >= address_ && size <= size_ && address - address_ <= size_ - size;
  }

  /// Host rights of a part of the guest's mapping. Returns 0 or -errno.
  int protect(uint64_t address, uint64_t size, uint32_t access);

  /// Removes the guest's mapping; the alias lives as long as the object.
  void unmap_guest();

 private:
  Region() = default;
  uint64_t address_ = 0, size_ = 0;
  uint8_t* alias_ = nullptr;
};

constexpr uint64_t kPageSize = 4096;

}  // namespace km::binding
