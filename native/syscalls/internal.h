// SPDX-License-Identifier: Apache-2.0
// What the groups of this folder share. Not for other folders.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

#include "native/machine/guest_thread.h"
#include "native/machine/process.h"
#include "native/syscalls/spec.h"
#include "native/syscalls/syscalls.h"

struct iovec;

namespace km {

// Every HANDLE line of table.def is a function sys_<name>.
#define FORWARD(...)
#define HANDLE(nr, name, ...) int64_t sys_##name(GuestThread&, const uint64_t args[6]);
#define ANSWER HANDLE
#define REFUSE(...)
#define QUIET(...)
#define ABSENT(...)
#include "native/syscalls/table.def"
#undef FORWARD
#undef HANDLE
#undef ANSWER
#undef REFUSE
#undef QUIET
#undef ABSENT

/// True when [addr, addr+len) is the payload's to name; NULL passes (the kernel decides). Nothing else is needed
/// before the address goes to the kernel: outside the window lies the monitor.
inline bool guest_range(uint64_t addr, uint64_t len) { return addr == 0 || process().memory->in_window(addr, len); }

/// The same for memory of at most kLongestFixed bytes, or used in order up to a terminator: the 2 MiB behind the
/// window are never mapped, so the start alone decides.
inline bool guest_pointer(uint64_t addr) { return addr < process().memory->window().end; }

// A bad address is not answered here but made unusable: whether the kernel would have looked at it, and which error
// comes first, stays the kernel's business (libc leaves rubbish in registers of unused arguments).
inline uint64_t safe_range(uint64_t addr, uint64_t len) {
  if (guest_range(addr, len)) return addr;
  return len == 0 ? process().memory->window().start : kNowhere;  // nothing is looked at, wherever it is
}
inline uint64_t safe_pointer(uint64_t addr) { return guest_pointer(addr) ? addr : kNowhere; }

/// Forwards with other arguments than the payload's.
int64_t forward(GuestThread& thread, int64_t nr, uint64_t a0 = 0, uint64_t a1 = 0, uint64_t a2 = 0, uint64_t a3 = 0,
                uint64_t a4 = 0, uint64_t a5 = 0);

/// Address of monitor memory as a system call argument.
inline uint64_t word(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

/// Array of plain values copied out of the payload: `Inline` of them without an allocation.
template <typename T, size_t Inline>
class GuestArray {
 public:
  /// Copies `count` elements from `addr`. Returns 0, -EFAULT or -ENOMEM.
  int load(uint64_t addr, size_t count) {
    int error = reserve(count);
    if (error != 0 || count == 0) return error;
    return copy_from_guest(data(), addr, count * sizeof(T));
  }
  /// Room for `count` elements, not initialised. Returns 0 or -ENOMEM.
  int reserve(size_t count) {
    count_ = count;
    if (count <= Inline) return 0;
    heap_.reset(new (std::nothrow) T[count]);
    return heap_ ? 0 : -12;  // ENOMEM
  }
  T* data() { return count_ <= Inline ? inline_ : heap_.get(); }
  size_t size() const { return count_; }
  T& operator[](size_t i) { return data()[i]; }
  T* begin() { return data(); }
  T* end() { return data() + count_; }

 private:
  T inline_[Inline];
  std::unique_ptr<T[]> heap_;
  size_t count_ = 0;
};

/// An iovec array of the payload, copied and checked: elements outside the window become unusable.
class GuestIov {
 public:
  /// Address to give the kernel instead of `addr`: the copy, or kNowhere when there is nothing to copy. The count stays
  /// the payload's; more than UIO_MAXIOV are refused by the kernel before it looks.
  uint64_t load(uint64_t addr, uint64_t count);

 private:
  GuestArray<uint64_t, 16> words_;
};

/// One log line per distinct (what, number): refused ioctls, prctl options, ... never floods.
void log_refused_once(const char* what, uint64_t number);

}  // namespace km
