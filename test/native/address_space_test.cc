// SPDX-License-Identifier: Apache-2.0
// The address space by itself: placement, errors, brk, stack, faults, fork, maps. Every step also compares guest view,
// VMA tree and the host's /proc/self/maps.
#include "test/native/address_space_fixture.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

using namespace km_test;

namespace {

constexpr int kAnon = MAP_PRIVATE | MAP_ANONYMOUS, kRw = PROT_READ | PROT_WRITE;
constexpr uint32_t kReadFault = 4, kWriteFault = 6, kFetchFault = 20;  // user-mode #PF error codes

struct Fixture {
  RecordingMachine machine;
  km::AddressSpace space{machine};

  ~Fixture() {
    views(__FILE__, __LINE__, false);
    space.munmap(kWindow.start, kWindow.end - kWindow.start);
    CHECK(host_maps(kWindow.start, kWindow.end).empty());
    CHECK(machine.ranges.empty());
    CHECK(machine.bad_ranges == 0 && machine.premature == 0);
  }

  void views(const char* file, int line, bool exact = true) {
    const std::string trouble = compare_views(space, machine, exact);
    check(trouble.empty(), trouble.c_str(), file, line);
  }

  int64_t anon(uint64_t addr, uint64_t len, int prot = kRw, int extra = 0) {
    return space.mmap(addr, len, prot, kAnon | extra, -1, 0);
  }
};

#define VIEWS(f) (f).views(__FILE__, __LINE__)

uint8_t* at(int64_t addr) { return reinterpret_cast<uint8_t*>(addr); }  // identity window

int file_of(uint64_t size, uint8_t fill = 0x5a) {
  const int fd = memfd_create("payload-file", MFD_CLOEXEC);
  std::string data(size, char(fill));
  if (write(fd, data.data(), size) != ssize_t(size)) abort();
  return fd;
}

void placement() {
  Fixture f;
  const int64_t a = f.anon(0, kPage);
  CHECK(a == int64_t(kWindow.end - kPage));
  CHECK(f.anon(0, 3 * kPage) == a - int64_t(3 * kPage));
  CHECK(f.space.munmap(uint64_t(a), kPage) == 0);
  CHECK(f.anon(0, kPage) == a);  // first fit from the top
  CHECK(f.anon(0x10000000, kPage) == 0x10000000);
  CHECK(f.anon(0x10000123, kPage) != 0x10000000);  // rounds down to the page that is taken
  CHECK(f.anon(0x20000fff, kPage) == 0x20000000);
  CHECK(f.anon(0x1000, kPage) > 0);                  // hint below the window: ignored
  CHECK(f.anon(0x7f0000000000, kPage) > 0);          // and above
  CHECK(f.anon(0x7f0000000000, kPage, kRw, MAP_FIXED) == -ENOMEM);
  CHECK(f.anon(kWindow.end - kPage, 2 * kPage, kRw, MAP_FIXED) == -ENOMEM);
  CHECK(f.anon(0x1000, kPage, kRw, MAP_FIXED) == -ENOMEM);
  CHECK(f.anon(0x10000000, kPage, kRw, MAP_FIXED_NOREPLACE) == -EEXIST);
  CHECK(f.anon(0x10001000, kPage, kRw, MAP_FIXED_NOREPLACE) == 0x10001000);
  const int64_t low = f.anon(0, kMiB, kRw, MAP_32BIT);
  CHECK(low > 0 && low + int64_t(kMiB) <= int64_t(2 * kGiB));
  const int64_t huge = f.anon(0, 5 * kMiB + kPage);
  CHECK(huge > 0 && huge % int64_t(2 * kMiB) == 0);
  const int big = memfd_create("big", MFD_CLOEXEC);
  CHECK(ftruncate(big, 9 * kMiB) == 0);
  const int64_t file = f.space.mmap(0, 4 * kMiB, PROT_READ, MAP_PRIVATE, big, 3 * kPage);
  CHECK(file > 0 && file % int64_t(2 * kMiB) == 3 * kPage);  // huge pages of the page cache fit
  close(big);
  CHECK(f.anon(0, 0) == -EINVAL);
  CHECK(f.anon(0x1001, kPage, kRw, MAP_FIXED) == -EINVAL);
  CHECK(f.anon(0, 1ULL << 60) == -ENOMEM);
  CHECK(f.anon(0, UINT64_MAX) == -ENOMEM);
  CHECK(f.space.mmap(0, kPage, kRw, MAP_ANONYMOUS, -1, 0) == -EINVAL);
  CHECK(f.space.mmap(0, kPage, kRw, kAnon, -1, 12) == -EINVAL);
  CHECK(f.space.mmap(0, kPage, kRw, MAP_PRIVATE, -1, 0) == -EBADF);
  CHECK(f.space.mmap(0, kPage, kRw, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0) == -EINVAL);
  VIEWS(f);
}

void reservations() {
  Fixture f;
  const int before = f.machine.calls;
  const int64_t a = f.anon(0, 64 * kGiB, PROT_NONE, MAP_NORESERVE);
  CHECK(a > 0);
  CHECK(f.machine.calls == before);  // nothing to show
  CHECK(f.space.mprotect(uint64_t(a) + kGiB, 4 * kMiB, kRw) == 0);
  at(a)[kGiB] = 1;
  VIEWS(f);
  CHECK(f.space.munmap(uint64_t(a), 64 * kGiB) == 0);
  VIEWS(f);
  int64_t all = f.anon(0, 400 * kGiB, PROT_NONE, MAP_NORESERVE);
  CHECK(all > 0);
  CHECK(f.anon(0, 400 * kGiB, PROT_NONE, MAP_NORESERVE) == -ENOMEM);
  CHECK(f.anon(0, kGiB, PROT_NONE, MAP_NORESERVE) > 0);
}

// Placement against the plain definition: the highest place where the length fits.
void placement_is_first_fit() {
  Fixture f;
  f.machine.check_host = false;
  srand(11);
  std::vector<std::pair<uint64_t, uint64_t>> made;
  for (int i = 0; i < 3000; ++i) {
    if (!made.empty() && rand() % 5 < 2) {
      const size_t k = size_t(rand()) % made.size();
      uint64_t lo = made[k].first, len = made[k].second;
      if (rand() % 3 == 0 && len > 2 * kPage) lo += kPage, len -= 2 * kPage;
      f.space.munmap(lo, len);
      made.erase(made.begin() + long(k));
      continue;
    }
    const uint64_t len = kPage * uint64_t(1 + rand() % (rand() % 4 ? 8 : 300));
    uint64_t expected = 0, ceiling = kWindow.end;
    std::vector<std::pair<uint64_t, uint64_t>> taken;
    f.space.for_each([&](uint64_t start, const km::Vma& vma) { taken.emplace_back(start, vma.end); });
    for (auto it = taken.rbegin(); it != taken.rend() && expected == 0; ++it) {
      if (ceiling - it->second >= len) expected = ceiling - len;
      ceiling = it->first;
    }
    if (expected == 0) expected = ceiling - len;
    const int prot = rand() % 2 ? PROT_READ : PROT_NONE;
    const int64_t got = f.anon(0, len, prot);
    if (got != int64_t(expected)) {
      printf("step %d: length %lx placed at %lx, highest fit is %lx\n", i, len, got, expected);
      CHECK(got == int64_t(expected));
      break;
    }
    made.emplace_back(uint64_t(got), len);
  }
  CHECK(made.size() > 100);
  VIEWS(f);
}

/// Nanoseconds of one lookup among `count` maps: whether a page is mapped, and what a fault there means.
double lookup_among(uint64_t count) {
  Fixture f;
  f.machine.check_host = false;
  uint64_t lowest = kWindow.end;
  for (uint64_t i = 0; i < count; ++i) lowest = uint64_t(f.anon(0, kPage, i % 2 ? PROT_READ : PROT_NONE));
  CHECK(kWindow.end - lowest == count * kPage);
  constexpr int kLookups = 2000;
  double best = 1e9;
  bool good = true;
  for (int round = 0; round < 7; ++round) {
    timespec from, to;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (uint64_t i = 0; i < kLookups; ++i) {
      const uint64_t page = lowest + i * 7919 % count * kPage;
      good &= f.space.is_mapped(page, kPage) && f.space.page_fault(page, kWriteFault).code == SEGV_ACCERR;
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    best = std::min(best, double(to.tv_sec - from.tv_sec) * 1e9 + double(to.tv_nsec - from.tv_nsec));
  }
  CHECK(good);
  f.space.munmap(lowest, count * kPage);
  return best / kLookups;
}

void many_maps() {
  const double few = lookup_among(30), many = lookup_among(30000);
  printf("a lookup: %.0f ns among 30 maps, %.0f ns among 30000\n", few, many);
  check(many < 100 * few, "a lookup does not go through a list", __FILE__, __LINE__);
}

void heap() {
  Fixture f;
  f.space.set_brk_start(0x1000123);
  const int64_t start = f.space.brk(0);
  CHECK(start == 0x1001000);
  CHECK(f.space.brk(uint64_t(start) - 1) == start);
  CHECK(f.space.brk(uint64_t(start) + 10) == start + 10);
  at(start)[0] = 7;
  CHECK(f.space.is_mapped(uint64_t(start), kPage) && !f.space.is_mapped(uint64_t(start) + kPage, 1));
  CHECK(f.space.brk(uint64_t(start) + 3 * kPage + 1) == start + int64_t(3 * kPage) + 1);
  at(start)[3 * kPage] = 9;
  CHECK(f.space.brk(uint64_t(start) + 3 * kPage) == start + int64_t(3 * kPage));
  CHECK(f.space.brk(uint64_t(start) + 4 * kPage) == start + int64_t(4 * kPage));
  CHECK(at(start)[3 * kPage] == 0 && at(start)[0] == 7);  // zero again on regrowth
  VIEWS(f);
  CHECK(f.space.brk(uint64_t(start) + 9 * kMiB + 5) == start + int64_t(9 * kMiB) + 5);
  VIEWS(f);
  // A mapping in the way, also when it would only touch.
  const uint64_t wall = uint64_t(start) + 12 * kMiB;
  CHECK(f.anon(wall, kPage, kRw, MAP_FIXED) == int64_t(wall));
  const int64_t now = f.space.brk(0);
  CHECK(f.space.brk(wall) == now);
  CHECK(f.space.brk(wall + 5) == now);
  CHECK(f.space.brk(wall - kPage) == int64_t(wall - kPage));
  struct rlimit old, tight;
  getrlimit(RLIMIT_DATA, &old);
  tight = old;
  tight.rlim_cur = 1 * kMiB;
  setrlimit(RLIMIT_DATA, &tight);
  CHECK(f.space.brk(wall - kPage + 1) == int64_t(wall - kPage));
  CHECK(f.space.brk(uint64_t(start)) == start);
  setrlimit(RLIMIT_DATA, &old);
  CHECK(!f.space.is_mapped(uint64_t(start), 1));
  CHECK(f.space.brk(1ULL << 50) == start);
  VIEWS(f);
}

void stack() {
  Fixture f;
  const int64_t top = f.space.map_stack(8 * kMiB);
  CHECK(top == int64_t(kWindow.end));
  at(top)[-1] = 1;
  CHECK(f.space.page_fault(uint64_t(top) - 9 * kMiB + kPage, kWriteFault).code == SEGV_MAPERR);
  for (int i = 0; i < 2000; ++i) f.anon(0, kPage, i % 2 ? kRw : PROT_READ);
  const uint64_t gap = uint64_t(top) - 8 * kMiB - kMiB;
  CHECK(!f.space.is_mapped(gap, 1));
  bool inside = false;
  f.space.for_each([&](uint64_t start, const km::Vma& vma) {
    inside |= start < gap + kMiB && vma.end > gap;
  });
  CHECK(!inside);
  CHECK(f.anon(gap + kPage, kPage) != int64_t(gap + kPage));                       // a hint is not enough
  CHECK(f.anon(gap + kPage, kPage, kRw, MAP_FIXED) == int64_t(gap + kPage));      // force is
  // glibc's executable-stack switch.
  CHECK(f.space.mprotect(uint64_t(top) - kPage, kPage, kRw | PROT_EXEC | PROT_GROWSDOWN) == 0);
  CHECK(f.machine.access(uint64_t(top) - 8 * kMiB) == 7);
  CHECK(f.space.mprotect(uint64_t(top) - kPage, kPage, kRw | PROT_GROWSUP) == -EINVAL);
  VIEWS(f);
  const std::string maps = f.space.maps_text();
  CHECK(maps.find("[stack]") != std::string::npos);
}

void protection() {
  Fixture f;
  const uint64_t a = uint64_t(f.anon(0x40000000, 16 * kPage, kRw, MAP_FIXED));
  CHECK(f.space.mprotect(a + 4 * kPage, 4 * kPage, PROT_READ) == 0);
  CHECK(f.machine.access(a + 4 * kPage) == km::kRead && f.machine.access(a) == 3);
  CHECK(f.space.mprotect(a + 8 * kPage, kPage, PROT_EXEC) == 0);
  CHECK(f.machine.access(a + 8 * kPage) == (km::kRead | km::kExec));
  CHECK(f.space.mprotect(a + 9 * kPage, kPage, PROT_WRITE) == 0);
  CHECK(f.machine.access(a + 9 * kPage) == (km::kRead | km::kWrite));
  CHECK(f.space.mprotect(a + 10 * kPage, kPage, PROT_NONE) == 0);
  VIEWS(f);
  CHECK(f.space.mprotect(a + 15 * kPage, 2 * kPage, PROT_READ) == -ENOMEM);
  CHECK(f.machine.access(a + 15 * kPage) == km::kRead);  // the part before the hole is changed, as on Linux
  CHECK(f.space.mprotect(a + 1, kPage, kRw) == -EINVAL);
  CHECK(f.space.mprotect(a, 0, kRw) == 0);
  CHECK(f.space.mprotect(a, kPage, 0x100) == -EINVAL);
  CHECK(f.space.mprotect(a, kPage, kRw | PROT_GROWSDOWN) == -EINVAL);
  CHECK(f.space.mprotect(0x1000, kPage, kRw) == -ENOMEM);
  CHECK(f.space.mprotect(a, UINT64_MAX - a, kRw) == -ENOMEM);
  const std::string maps = f.space.maps_text();
  CHECK(maps.find("--xp") != std::string::npos && maps.find("-w-p") != std::string::npos);
  VIEWS(f);
}

void refusals_change_nothing() {
  Fixture f;
  const int rw = file_of(4 * kPage);
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", rw);
  const int ro = open(name, O_RDONLY | O_CLOEXEC);
  CHECK(f.space.mmap(0, kPage, kRw, MAP_SHARED, ro, 0) == -EACCES);
  const uint64_t a = uint64_t(f.space.mmap(0x40000000, 4 * kPage, PROT_READ, MAP_SHARED | MAP_FIXED, ro, 0));
  CHECK(f.space.mprotect(a, kPage, kRw) == -EACCES);
  VIEWS(f);
  CHECK(f.space.mmap(a, kPage, kRw, MAP_SHARED | MAP_FIXED, ro, 0) == -EACCES);
  CHECK(f.machine.access(a) == km::kRead);
  VIEWS(f);
  // A seal refuses the mapping after Linux has unmapped what was there; whichever the kernel does, we follow.
  const int sealed = memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);
  CHECK(ftruncate(sealed, 4096) == 0 && fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE) == 0);
  CHECK(f.space.mmap(a, kPage, kRw, MAP_SHARED | MAP_FIXED, sealed, 0) == -EPERM);
  VIEWS(f);
  CHECK(f.space.mmap(a, kPage, kRw, MAP_SHARED | MAP_FIXED, open("/", O_RDONLY | O_CLOEXEC), 0) < 0);
  VIEWS(f);
  // The driver has no memory for page tables.
  f.machine.fail_after = 0;
  CHECK(f.anon(0x50000000, kPage, kRw, MAP_FIXED) == -ENOMEM);
  CHECK(!f.space.is_mapped(0x50000000, kPage));
  VIEWS(f);
  const uint64_t b = uint64_t(f.anon(0x50000000, 4 * kPage, kRw, MAP_FIXED));
  f.machine.fail_after = 0;
  CHECK(f.space.mprotect(b, kPage, PROT_READ) == -ENOMEM);
  VIEWS(f);
  f.machine.fail_after = 0;
  CHECK(f.space.munmap(b, kPage) == -ENOMEM);
  VIEWS(f);
  close(rw);
  close(ro);
  close(sealed);
}

void files() {
  Fixture f;
  const int fd = file_of(2 * kPage + 100);
  const uint64_t a = uint64_t(f.space.mmap(0, 8 * kPage, kRw, MAP_SHARED, fd, 0));
  CHECK(f.machine.access(a + 2 * kPage) == 3);
  CHECK(f.machine.access(a + 3 * kPage) == km::kHidden);  // wholly behind the end: comes as an exact #PF
  auto v = f.space.page_fault(a + 3 * kPage + 5, kReadFault);
  CHECK(v.signo == SIGBUS && v.code == BUS_ADRERR && v.address == a + 3 * kPage + 5);
  CHECK(f.space.page_fault(a + 3 * kPage, kWriteFault).signo == SIGBUS);
  VIEWS(f);
  CHECK(ftruncate(fd, 5 * kPage) == 0);
  CHECK(f.space.page_fault(a + 3 * kPage + 5, kReadFault).signo == 0);
  CHECK(f.machine.access(a + 3 * kPage) == 3 && f.machine.access(a + 4 * kPage) == km::kHidden);
  CHECK(f.space.mprotect(a, 8 * kPage, PROT_READ) == 0);
  CHECK(!(f.machine.access(a + 3 * kPage) & km::kWrite));
  VIEWS(f);
  CHECK(f.space.page_fault(a + 3 * kPage, kWriteFault).code == SEGV_ACCERR);
  CHECK(f.space.mprotect(a, 8 * kPage, kRw) == 0);
  CHECK(f.space.page_fault(a + 3 * kPage, kWriteFault).signo == 0);
  // Truncation behind our back: the device cannot get the page.
  CHECK(ftruncate(fd, kPage) == 0);
  CHECK(f.machine.access(a + kPage) == 3);
  CHECK(f.space.memory_fault(a + kPage).signo == 0);
  CHECK(f.machine.access(a + kPage) == km::kHidden && f.machine.access(a) == 3);
  CHECK(f.space.page_fault(a + kPage + 8, kWriteFault).signo == SIGBUS);
  CHECK(f.space.memory_fault(0).signo == 0);
  CHECK(f.machine.access(a) == km::kHidden);
  CHECK(f.space.page_fault(a, kReadFault).signo == 0);
  CHECK(f.machine.access(a) == 3);
  // A device that never succeeds although the kernel can: an end must come.
  int rounds = 0;
  while (rounds < 1000 && f.space.memory_fault(a).signo == 0) {
    CHECK(f.space.page_fault(a, kWriteFault).signo == 0);
    ++rounds;
  }
  CHECK(rounds > 1 && rounds < 1000);
  CHECK(f.space.mmap(0, kPage, kRw, MAP_SHARED, fd, uint64_t(INT64_MAX) & ~4095ULL) == -EOVERFLOW);
  CHECK(at(int64_t(a))[10] == 0x5a);
  close(fd);
}

void faults() {
  Fixture f;
  const uint64_t a = uint64_t(f.anon(0x40000000, 4 * kPage, PROT_READ, MAP_FIXED));
  auto v = f.space.page_fault(a + 17, kWriteFault | 1);
  CHECK(v.signo == SIGSEGV && v.code == SEGV_ACCERR && v.address == a + 17);
  CHECK(f.space.page_fault(a, kFetchFault | 1).code == SEGV_ACCERR);
  CHECK(f.space.page_fault(a, kReadFault).signo == 0);
  CHECK(f.space.page_fault(a + 4 * kPage, kReadFault).code == SEGV_MAPERR);
  CHECK(f.space.page_fault(0, kReadFault).code == SEGV_MAPERR);
  CHECK(f.space.page_fault(0xffffffff81000000, kReadFault | 1).code == SEGV_MAPERR);
  CHECK(f.space.mprotect(a, kPage, PROT_NONE) == 0);
  CHECK(f.space.page_fault(a, kReadFault).code == SEGV_ACCERR);
  if (f.space.madvise(a + kPage, kPage, 102 /* MADV_GUARD_INSTALL */) == 0) {
    CHECK(f.space.page_fault(a + kPage, kReadFault).code == SEGV_MAPERR);
    CHECK(f.machine.access(a + kPage) == km::kHidden);
    CHECK(f.space.mprotect(a, 4 * kPage, kRw) == 0);
    CHECK(f.machine.access(a + kPage) == km::kHidden && f.machine.access(a) == 3);
    CHECK(f.space.madvise(a + kPage, kPage, 103) == 0);
    CHECK(f.machine.access(a + kPage) == 3);
    VIEWS(f);
  }
  CHECK(f.space.madvise(a, kPage, 77) == -EINVAL);
  CHECK(f.space.madvise(a, kPage, 100 /* MADV_HWPOISON */) == -EPERM);
  CHECK(f.space.madvise(a + 1, kPage, MADV_DONTNEED) == -EINVAL);
  CHECK(f.space.madvise(a, 0, MADV_DONTNEED) == 0);
  CHECK(f.space.madvise(0x7f0000000000, kPage, MADV_DONTNEED) == -ENOMEM);
  CHECK(f.space.madvise(kWindow.end - kPage, 2 * kPage, MADV_NORMAL) == -ENOMEM);
}

void remapping() {
  Fixture f;
  const uint64_t a = uint64_t(f.anon(0x40000000, 4 * kPage, kRw, MAP_FIXED));
  at(int64_t(a))[0] = 0x11;
  CHECK(f.space.mremap(a, 4 * kPage, 8 * kPage, 0, 0) == int64_t(a));
  VIEWS(f);
  CHECK(f.anon(a + 8 * kPage, kPage, PROT_READ, MAP_FIXED) > 0);
  CHECK(f.space.mremap(a, 8 * kPage, 9 * kPage, 0, 0) == -ENOMEM);
  const int64_t b = f.space.mremap(a, 8 * kPage, 3 * kMiB, MREMAP_MAYMOVE, 0);
  CHECK(b > 0 && b % int64_t(2 * kMiB) == 0 && f.space.in_window(uint64_t(b), 3 * kMiB) && at(b)[0] == 0x11);
  CHECK(!f.space.is_mapped(a, kPage) && f.machine.access(a) == km::kHidden);
  VIEWS(f);
  CHECK(f.space.mremap(uint64_t(b), 3 * kMiB, kPage, 0, 0) == b);
  VIEWS(f);
  CHECK(f.space.mremap(uint64_t(b), kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, 0x7f0000000000) == -ENOMEM);
  CHECK(f.space.mremap(uint64_t(b), kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, uint64_t(b)) == -EINVAL);
  CHECK(f.space.mremap(uint64_t(b), kPage, kPage, MREMAP_FIXED, 0x60000000) == -EINVAL);
  CHECK(f.space.mremap(uint64_t(b), kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, 0x60000000) == 0x60000000);
  CHECK(f.space.mremap(0x60000000, kPage, kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0) > 0);
  CHECK(f.space.is_mapped(0x60000000, kPage) && at(0x60000000)[0] == 0);
  CHECK(f.space.mremap(0x61000000, kPage, 2 * kPage, MREMAP_MAYMOVE, 0) == -EFAULT);
  CHECK(f.space.mremap(0x7f0000000000, kPage, 2 * kPage, MREMAP_MAYMOVE, 0) == -EFAULT);
  CHECK(f.space.mremap(0x60000000, kPage, 0, 0, 0) == -EINVAL);
  CHECK(f.space.mremap(0x60000001, kPage, kPage, 0, 0) == -EINVAL);
  CHECK(f.space.mremap(0x60000000, 0, kPage, MREMAP_MAYMOVE, 0) == -EINVAL);  // private: no second view
  const uint64_t s = uint64_t(f.space.mmap(0, 2 * kPage, kRw, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const int64_t t = f.space.mremap(s, 0, 2 * kPage, MREMAP_MAYMOVE, 0);
  CHECK(t > 0);
  at(int64_t(s))[5] = 0x77;
  CHECK(at(t)[5] == 0x77);
  VIEWS(f);
  // Advised and unadvised neighbours are one VMA to the payload.
  const uint64_t big = uint64_t(f.anon(0x80000000, 8 * kMiB, PROT_NONE, MAP_FIXED));
  for (uint64_t step = 0; step < 8 * kMiB; step += 128 * 1024) {
    CHECK(f.space.mprotect(big + step, 128 * 1024, kRw) == 0);
    memset(at(int64_t(big + step)), 0x33, 128 * 1024);
  }
  CHECK(f.anon(big + 8 * kMiB, kPage, PROT_NONE, MAP_FIXED) > 0);
  const int64_t moved = f.space.mremap(big, 8 * kMiB, 12 * kMiB, MREMAP_MAYMOVE, 0);
  CHECK(moved > 0 && at(moved)[8 * kMiB - 1] == 0x33 && at(moved)[8 * kMiB] == 0);
  VIEWS(f);
}

void forking() {
  Fixture f;
  const uint64_t a = uint64_t(f.anon(0x40000000, 4 * kPage, kRw, MAP_FIXED));
  f.anon(0x50000000, kPage, PROT_NONE, MAP_FIXED);
  const int fd = file_of(kPage);
  f.space.mmap(0x60000000, 2 * kPage, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0);
  CHECK(f.space.madvise(a + kPage, kPage, MADV_DONTFORK) == 0);
  VIEWS(f);
  at(int64_t(a))[0] = 42;
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    failed = 0;
    RecordingMachine fresh;
    CHECK(f.space.attach(fresh) == 0);
    const std::string trouble = compare_views(f.space, fresh, true);
    check(trouble.empty(), trouble.c_str(), __FILE__, __LINE__);
    CHECK(!f.space.is_mapped(a + kPage, kPage) && fresh.access(a + kPage) == km::kHidden);
    CHECK(fresh.access(a) == 3 && fresh.access(0x50000000) == km::kHidden && fresh.access(0x60000000) == 1);
    CHECK(fresh.access(0x60001000) == km::kHidden && at(int64_t(a))[0] == 42);
    fflush(stdout);
    _exit(failed ? 1 : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(status == 0);
  close(fd);
}

void maps_text() {
  Fixture f;
  f.space.set_brk_start(0x800000);
  f.space.brk(0x800000 + 5 * kMiB);
  f.space.brk(0x800000 + 5 * kMiB + 100);
  f.space.map_stack(kMiB);
  const int fd = file_of(8 * kPage);
  f.space.mmap(0x40000000, 4 * kPage, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, kPage);
  f.space.mprotect(0x40002000, kPage, PROT_READ);
  f.space.add_special(kWindow.end + kMiB, 2 * kPage, PROT_READ | PROT_EXEC, "[vdso]");
  const std::string maps = f.space.maps_text();
  CHECK(maps.find("00800000-00d01000 rw-p 00000000 00:00 0                                  [heap]\n") !=
        std::string::npos);
  CHECK(maps.find("40000000-40002000 r-xp 00001000 00:") != std::string::npos);
  CHECK(maps.find("40002000-40003000 r--p 00003000 00:") != std::string::npos);
  CHECK(maps.find("/memfd:payload-file (deleted)\n") != std::string::npos);
  CHECK(maps.find("7fffd00000-7fffe00000 rw-p 00000000 00:00 0 ") != std::string::npos);
  CHECK(maps.find("[vdso]\n") == maps.size() - 7);
  CHECK(maps.find("/address_space_test") == std::string::npos && maps.find("libc") == std::string::npos);
  close(fd);
}

void specials_in_window() {
  Fixture f;
  const uint64_t vdso = kWindow.end - 4 * kPage;
  f.space.add_special(vdso, 4 * kPage, PROT_READ | PROT_EXEC, "[vdso]");
  CHECK(f.anon(0, kPage) < int64_t(vdso));
  CHECK(f.anon(vdso, kPage) != int64_t(vdso));
  CHECK(f.anon(vdso, kPage, kRw, MAP_FIXED) == -EPERM);
  CHECK(f.space.munmap(vdso, kPage) == 0);
  VIEWS(f);
}

}  // namespace

int main() {
  install_touch_handlers();
  placement();
  reservations();
  placement_is_first_fit();
  many_maps();
  heap();
  stack();
  protection();
  refusals_change_nothing();
  files();
  faults();
  remapping();
  forking();
  maps_text();
  specials_in_window();
  return finish();
}
