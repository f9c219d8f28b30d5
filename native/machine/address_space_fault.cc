// SPDX-License-Identifier: Apache-2.0
// Page faults of the payload, pages the host cannot provide, and moving to a fresh machine after fork.
#include <algorithm>
#include <csignal>
#include <ctime>

#include "native/machine/address_space.h"
#include "native/machine/address_space_host.h"

namespace km {

using host::align_down;
using host::kPage;

namespace {

// Page-fault error code (SDM vol. 3, 4.7).
constexpr uint32_t kFaultWrite = 1u << 1, kFaultFetch = 1u << 4;
// So many memory faults in quick succession, and never a page that the host could not provide: the device cannot map
// what the host has.
constexpr unsigned kMostRepeats = 128;
constexpr int64_t kQuick = 1000000000;  // ns

int64_t now() {
  struct timespec time = {};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1000000000 + time.tv_nsec;
}

}  // namespace

FaultVerdict AddressSpace::page_fault(uint64_t addr, uint32_t error_code) {
  const bool writes = error_code & kFaultWrite, fetches = error_code & kFaultFetch;
  std::lock_guard<std::mutex> guard(lock_);
  auto it = find(addr);
  if (it == tree_.end()) return {SIGSEGV, SEGV_MAPERR, addr};
  const Vma& vma = it->second;
  // Linux brings an absent page in as for reading before it looks at PROT_EXEC: behind the end of a file a fetch is
  // SIGBUS in any case.
  if (!(vma.rights() & (writes ? kWrite : kRead))) return {SIGSEGV, SEGV_ACCERR, addr};
  if (vma.marks & kGuard) return {SIGSEGV, SEGV_MAPERR, addr};  // so says Linux: VM_FAULT_SIGSEGV carries no code
  if ((writes ? host::probe_write(addr) : host::probe_read(addr)) < 0) {
    memory_faults_ = 0;
    return {SIGBUS, BUS_ADRERR, addr};
  }
  if (fetches && !(vma.access() & kExec)) return {SIGSEGV, SEGV_ACCERR, addr};
  const uint64_t page = align_down(addr, kPage);
  last_filled_ = page;
  // What lies below a page the file has is inside the file as well; what lies above may not be.
  const uint64_t hi = vma.backed() ? page + kPage : vma.end;
  if (machine_->fill(page, it->first, hi, vma.access()) < 0) return {SIGBUS, BUS_ADRERR, addr};
  return {};
}

// Makes the host invalidate [lo, hi) (its MMU notifier drops what the device cached) without a moment in which a
// forwarded system call could not read or write there: nothing of ours executes in the window, so PROT_EXEC is free
// to flip.
void AddressSpace::zap_host(uint64_t lo, uint64_t hi, const Vma& vma) {
  const int prot = host::prot_of(vma.prot);
  const int other = prot ^ PROT_EXEC;
  // What is mapped is readable, so `other` is never PROT_EXEC alone. A noexec file system refuses the flip.
  if (host::mprotect(lo, hi - lo, other) < 0) host::mprotect(lo, hi - lo, PROT_NONE);
  host::mprotect(lo, hi - lo, prot);
}

FaultVerdict AddressSpace::memory_fault(uint64_t page) {
  std::lock_guard<std::mutex> guard(lock_);
  page = align_down(page, kPage);
  const int64_t time = now();
  memory_faults_ = time - last_memory_fault_ < kQuick ? memory_faults_ + 1 : 1;
  last_memory_fault_ = time;
  if (memory_faults_ > kMostRepeats) {
    memory_faults_ = 0;
    return {SIGBUS, BUS_ADRERR, page ? page : last_filled_};
  }
  // Without a hint: file mappings first; if that does not turn the access into a #PF, everything.
  const bool all = memory_faults_ > kMostRepeats / 2;
  bool hidden = false;
  for (const auto& [start, vma] : tree_) {
    if (vma.access() == kHidden) continue;
    uint64_t lo = start, hi = vma.end;
    if (page != 0) {
      if (page < lo || page >= hi) continue;
      lo = page;
      hi = page + kPage;
    } else if (!all && !vma.backed()) {
      continue;
    }
    if (machine_->protect(lo, hi - lo, kHidden) < 0) return {SIGBUS, BUS_ADRERR, page ? page : start};
    zap_host(lo, hi, vma);
    hidden = true;
  }
  if (page != 0 && !hidden) return {SIGSEGV, SEGV_MAPERR, page};
  return {};
}

int AddressSpace::attach(Machine& machine) {
  std::lock_guard<std::mutex> guard(lock_);
  if (machine.window().start != window_.start || machine.window().end != window_.end) return -EINVAL;
  machine_ = &machine;
  for (const auto& [start, vma] : pieces_of(window_.start, window_.end))
    if (vma.marks & kDontFork) erase_range(start, vma.end);
  return show(window_.start, window_.end);
}

}  // namespace km
