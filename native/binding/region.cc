// SPDX-License-Identifier: Apache-2.0
#include "native/binding/region.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <utility>

namespace km::binding {
namespace {

constexpr uint64_t kGiB = 1ull << 30, kAlign = 2ull << 20;

/// Node itself sits in the low gigabytes of the window.
uint64_t lowest(Window window) {
  uint64_t wanted = 64 * kGiB;
  return window.end > 2 * wanted ? wanted : (window.start + window.end) / 2 & ~(kAlign - 1);
}

int host_rights(uint32_t access) {
  return ((access & kRead) ? PROT_READ : 0) | ((access & kWrite) ? PROT_WRITE : 0) |
         ((access & kExec) ? PROT_EXEC : 0);
}

/// Maps at exactly `address` if that is free; MAP_FIXED_NOREPLACE needs Linux 4.17 (mmap(2)).
int map_exactly(uint64_t address, uint64_t size, int fd) {
  void* wanted = reinterpret_cast<void*>(address);  // only a number: the kernel decides whether it is free
  void* got = mmap(wanted, size, PROT_NONE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
  if (got == MAP_FAILED) return -errno;
  if (got == wanted) return 0;
  munmap(got, size);
  return -EEXIST;
}

/// The next free place, upwards from where the last one was, once around.
int64_t map_somewhere(Window window, uint64_t size, int fd) {
  static std::atomic<uint64_t> next{0};
  const uint64_t bottom = lowest(window), step = (size + kAlign - 1) & ~(kAlign - 1);
  uint64_t at = next.load();
  bool wrapped = false;
  for (;;) {
    if (at < bottom) at = bottom;
    if (at > window.end || window.end - at < step) {
      if (wrapped) return -ENOMEM;
      wrapped = true;
      at = bottom;
      if (window.end - at < step) return -ENOMEM;
    }
    int rc = map_exactly(at, size, fd);
    if (rc == 0) {
      next = at + step;
      return static_cast<int64_t>(at);
    }
    if (rc != -EEXIST) return rc;
    at += kAlign;
  }
}

}  // namespace

std::shared_ptr<Region> Region::create(Window window, uint64_t address, uint64_t size, int* error,
                                       const char** what) {
  std::shared_ptr<Region> region(new Region);
  *what = "memfd_create";
  int fd = memfd_create("kontain-guest", MFD_CLOEXEC);
  if (fd < 0) {
    *error = errno;
    return nullptr;
  }
  *what = "ftruncate";
  int64_t at = ftruncate(fd, static_cast<off_t>(size)) == 0 ? 0 : -errno;
  if (at == 0) {
    *what = "mmap";
    void* alias = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (alias == MAP_FAILED) at = -errno;
    else region->alias_ = static_cast<uint8_t*>(alias);
  }
  region->size_ = size;
  if (at == 0) {
    at = address == 0 ? map_somewhere(window, size, fd) : map_exactly(address, size, fd);
    if (at == 0) at = static_cast<int64_t>(address);
  }
  close(fd);
  if (at < 0) {
    *error = static_cast<int>(-at);
    return nullptr;
  }
  region->address_ = static_cast<uint64_t>(at);
  return region;
}

Region::~Region() {
  unmap_guest();
  if (alias_ != nullptr) munmap(alias_, size_);
}

int Region::protect(uint64_t address, uint64_t size, uint32_t access) {
  // Inside our own mapping (the caller checked contains()).
  return mprotect(reinterpret_cast<void*>(address), size, host_rights(access)) == 0 ? 0 : -errno;
}

void Region::unmap_guest() {
  if (address_ == 0) return;
  munmap(reinterpret_cast<void*>(std::exchange(address_, 0)), size_);
}

}  // namespace km::binding
