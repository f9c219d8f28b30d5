// SPDX-License-Identifier: Apache-2.0
// Random sequences of memory calls, done twice: through AddressSpace in the window and by plain system calls on a
// scratch region outside it. Results, errors, mappings, contents and the signals of touching memory must agree.
// Arguments: [first seed] [number of seeds] [steps per seed].
#include "test/native/address_space_fixture.h"

#include <sys/syscall.h>
#include <sys/uio.h>

#include <cstdarg>
#include <random>

#include "native/machine/address_space_host.h"

using namespace km_test;
namespace host = km::host;

namespace {

constexpr uint64_t kOurs = 256 * kGiB, kNative = 0x200000000000;  // bases of the two regions
constexpr uint64_t kPages = 6144, kSize = kPages * kPage;         // 24 MiB, twelve 2 MiB blocks
constexpr int kFiles = 3;

struct Side {
  uint64_t base;
  int fds[kFiles];
};

int read_only_view(int fd) {
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  return open(name, O_RDONLY | O_CLOEXEC);
}

class Duel {
 public:
  explicit Duel(unsigned seed) : random_(seed), seed_(seed) {
    for (Side* side : {&ours_, &native_}) {
      side->base = side == &ours_ ? kOurs : kNative;
      for (int i = 0; i < kFiles; ++i) {
        const uint64_t size = file_sizes_[i] = (i == 2 ? 3 * kMiB : 20 * kPage + 100);
        const int fd = memfd_create("duel", MFD_CLOEXEC);
        std::vector<uint8_t> data(size);
        for (uint64_t k = 0; k < size; ++k) data[k] = k % kPage == 0 ? 0xc3 : uint8_t(k / kPage + uint64_t(i));
        if (write(fd, data.data(), size) != ssize_t(size)) abort();
        side->fds[i] = fd;
        if (i == 1) {
          side->fds[i] = read_only_view(fd);
          writable_[side == &native_] = fd;
        }
      }
    }
  }

  ~Duel() {
    space_.munmap(kWindow.start, kWindow.end - kWindow.start);
    host::munmap(kNative, kSize);
    for (Side* side : {&ours_, &native_})
      for (int fd : side->fds) close(fd);
    close(writable_[0]);
    close(writable_[1]);
  }

  bool run(int steps) {
    for (int i = 0; i < steps && good_; ++i) {
      step();
      if (good_) compare_maps();
      if (good_ && i % 100 == 99) compare_contents();
    }
    if (machine_.bad_ranges || machine_.premature) fail("bad ranges %d, premature rights %d", machine_.bad_ranges,
                                                        machine_.premature);
    if (!good_) {
      printf("seed %u, last steps:\n", seed_);
      const size_t first = log_.size() > tail_ ? log_.size() - tail_ : 0;
      for (size_t i = first; i < log_.size(); ++i) printf("  %s\n", log_[i].c_str());
    }
    return good_;
  }

 private:
  uint64_t below(uint64_t n) { return random_() % n; }
  bool chance(unsigned percent) { return below(100) < percent; }

  // Few distinct places, so that operations meet; some at 2 MiB borders.
  uint64_t some_page() {
    if (chance(30)) return below(12) * 512;
    if (chance(40)) return below(64);
    return below(kPages);
  }
  uint64_t some_pages(uint64_t from) {
    const uint64_t n = chance(75) ? 1 + below(24) : chance(60) ? 512 * (1 + below(3)) + below(3) : 1 + below(900);
    return std::min(n, kPages - from);
  }

  // All readable: our host side always is (see prot_of), which shows in process_vm_readv and MADV_POPULATE_READ.
  int some_prot() {
    const int prot = int(below(8));
    return prot == 0 ? prot : prot | PROT_READ;
  }

  [[gnu::format(printf, 2, 3)]] void note(const char* format, ...) {
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    log_.push_back(text);
  }
  [[gnu::format(printf, 2, 3)]] void fail(const char* format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    log_.push_back(std::string("!! ") + text);
    good_ = false;
  }

  bool same(int64_t ours, int64_t native) {
    const bool ok = (ours < 0 || native < 0) ? ours == native : ours - int64_t(kOurs) == native - int64_t(kNative);
    if (!ok) fail("results differ: ours %lx, native %lx", ours, native);
    return ok;
  }
  bool same_number(int64_t ours, int64_t native) {
    if (ours != native) fail("results differ: ours %ld, native %ld", ours, native);
    return ours == native;
  }

  void step() {
    struct Kind {
      unsigned weight;
      void (Duel::*action)();
    };
    static constexpr Kind kKinds[] = {{30, &Duel::map},    {12, &Duel::unmap},  {20, &Duel::protect}, {18, &Duel::remap},
                                      {14, &Duel::advise}, {3, &Duel::sync},    {2, &Duel::core},     {2, &Duel::truncate},
                                      {60, &Duel::access}};
    unsigned total = 0;
    for (const Kind& kind : kKinds) total += kind.weight;
    auto pick = unsigned(below(total));
    for (const Kind& kind : kKinds) {
      if (pick < kind.weight) return (this->*kind.action)();
      pick -= kind.weight;
    }
  }

  void map() {
    const uint64_t page = some_page(), count = some_pages(page);
    uint64_t len = count * kPage - (chance(10) ? below(kPage) : 0);
    uint64_t offset = 0;
    const int prot = some_prot();
    int flags = chance(80) ? MAP_PRIVATE : MAP_SHARED, file = -1;
    if (chance(70)) {
      flags |= MAP_ANONYMOUS;
    } else {
      file = int(below(kFiles));
      offset = below(30) * kPage;
    }
    if (chance(10)) flags |= MAP_NORESERVE;
    if (chance(10)) flags |= MAP_POPULATE;
    if (chance(10)) flags |= MAP_STACK;
    if (chance(2)) flags |= MAP_GROWSDOWN;
    if (chance(2)) flags &= ~MAP_PRIVATE;
    if (chance(2)) len = 0;
    if (chance(2)) offset += 7;
    const unsigned mode = unsigned(below(100));
    if (mode < 75)
      flags |= MAP_FIXED;
    else if (mode < 87)
      flags |= MAP_FIXED_NOREPLACE;
    const uint64_t wobble = chance(3) ? 1 + below(kPage - 1) : 0;
    // A growing-down native VMA grows, which we do not imitate: errors only.
    if ((flags & MAP_GROWSDOWN) && (flags & MAP_ANONYMOUS) && !(flags & MAP_SHARED)) flags &= ~MAP_GROWSDOWN;
    note("mmap page %lu len %lx prot %d flags %x file %d offset %lx wobble %lx", page, len, prot, flags, file, offset,
         wobble);
    auto at = [&](const Side& side) { return side.base + page * kPage + wobble; };
    const int64_t ours = space_.mmap(at(ours_), len, prot, flags, file < 0 ? -1 : ours_.fds[file], offset);
    const int64_t native = host::mmap(at(native_), len, prot, flags, file < 0 ? -1 : native_.fds[file], offset);
    const bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
    if (!fixed && ours > 0 && native > 0 && !in_region(ours, kOurs) && !in_region(native, kNative)) {
      if (!space_.in_window(uint64_t(ours), len)) fail("placed outside the window: %lx", ours);
      space_.munmap(uint64_t(ours), len);
      host::munmap(uint64_t(native), len);
      return;
    }
    same(ours, native);
  }

  static bool in_region(int64_t addr, uint64_t base) { return uint64_t(addr) >= base && uint64_t(addr) < base + kSize; }

  void unmap() {
    const uint64_t page = some_page();
    uint64_t at = page * kPage, len = some_pages(page) * kPage;
    if (chance(5)) at += 1;
    if (chance(5)) len = 0;
    note("munmap page %lu len %lx", page, len);
    same_number(space_.munmap(kOurs + at, len), host::munmap(kNative + at, len));
  }

  void protect() {
    const uint64_t page = some_page();
    uint64_t at = page * kPage, len = some_pages(page) * kPage;
    int prot = some_prot();
    if (chance(3)) at += 1;
    if (chance(3)) len = 0;
    if (chance(3)) prot |= 8 << below(6);
    if (chance(2)) prot |= PROT_GROWSDOWN;
    if (chance(2)) prot |= PROT_GROWSUP;
    note("mprotect page %lu len %lx prot %x", page, len, prot);
    same_number(space_.mprotect(kOurs + at, len, prot), host::mprotect(kNative + at, len, prot));
  }

  void remap() {
    const uint64_t page = some_page(), target = some_page();
    uint64_t at = page * kPage, to = target * kPage;
    uint64_t old_len = some_pages(page) * kPage, new_len = some_pages(std::max(target, page)) * kPage;
    int flags = int(below(8));
    if (chance(40)) flags |= MREMAP_MAYMOVE;
    if ((flags & MREMAP_DONTUNMAP) && chance(80)) new_len = old_len = std::min(new_len, old_len);
    if (chance(30)) new_len = old_len = std::min(new_len, old_len);
    if (chance(5)) old_len = 0;
    if (chance(3)) at += 9;
    if (chance(3)) to += 9;
    if (chance(2)) new_len = 0;
    if (chance(2)) flags |= 16;
    note("mremap page %lu old %lx new %lx flags %x to page %lu", page, old_len, new_len, flags, target);
    const int64_t ours = space_.mremap(kOurs + at, old_len, new_len, flags, kOurs + to);
    const int64_t native = host::mremap(kNative + at, old_len, new_len, flags, kNative + to);
    if ((flags & MREMAP_FIXED) || ours < 0 || native < 0) return (void)same(ours, native);
    if (in_region(ours, kOurs) || in_region(native, kNative)) return (void)same(ours, native);
    bring_back(ours, native, new_len, flags);
  }

  // Both moved to a place of the kernel's and of our choosing: move both to the same place.
  void bring_back(int64_t ours, int64_t native, uint64_t len, int flags) {
    if (!space_.in_window(uint64_t(ours), len)) fail("moved outside the window: %lx", ours);
    const uint64_t to = below(kPages - len / kPage + 1) * kPage;
    note("  moved, brought to page %lu (flags %x)", to / kPage, flags);
    constexpr int kMove = MREMAP_MAYMOVE | MREMAP_FIXED;
    const int64_t a = space_.mremap(uint64_t(ours), len, len, kMove, kOurs + to);
    const int64_t b = host::mremap(uint64_t(native), len, len, kMove, kNative + to);
    same(a, b);
    space_.munmap(uint64_t(ours), len);
    host::munmap(uint64_t(native), len);
  }

  void advise() {
    // Without those whose effect depends on memory pressure or on alignment of the region's pages in memory.
    static constexpr int kAdvices[] = {MADV_NORMAL,     MADV_RANDOM,        MADV_SEQUENTIAL,     MADV_WILLNEED,
                                       MADV_DONTNEED,   MADV_DONTNEED,      MADV_REMOVE,         MADV_HUGEPAGE,
                                       MADV_NOHUGEPAGE, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_COLD,
                                       MADV_DONTFORK,   MADV_DOFORK,        MADV_GUARD_INSTALL,  MADV_GUARD_REMOVE,
                                       MADV_DONTDUMP,   MADV_DODUMP,        MADV_WIPEONFORK,     77};
    const uint64_t page = some_page();
    uint64_t at = page * kPage, len = some_pages(page) * kPage;
    const int advice = kAdvices[below(std::size(kAdvices))];
    if (chance(3)) at += 5;
    if (chance(3)) len = 0;
    if (chance(3)) len = UINT64_MAX - below(8192);
    note("madvise page %lu len %lx advice %d", page, len, advice);
    same_number(space_.madvise(kOurs + at, len, advice), host::madvise(kNative + at, len, advice));
  }

  void sync() {
    const uint64_t page = some_page();
    uint64_t at = page * kPage, len = some_pages(page) * kPage;
    const int flags = int(below(16));
    if (chance(10)) at += 5;
    note("msync page %lu len %lx flags %x", page, len, flags);
    same_number(space_.msync(kOurs + at, len, flags),
                host::call(SYS_msync, kNative + at, len, uint64_t(flags)));
  }

  void core() {
    const uint64_t page = some_page();
    uint64_t at = page * kPage, len = some_pages(page) * kPage;
    if (chance(10)) at += 5;
    if (chance(10)) len = 0;
    note("mincore page %lu len %lx", page, len);
    // The vector must lie inside the window: a page of our own there.
    const int64_t vec = space_.mmap(0, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    same_number(space_.mincore(kOurs + at, len, uint64_t(vec)),
                host::call(SYS_mincore, kNative + at, len, uint64_t(vec)));
    space_.munmap(uint64_t(vec), 4 * kPage);
  }

  void truncate() {
    const auto file = int(below(kFiles));
    const uint64_t size = below(40) * kPage + (chance(50) ? below(kPage) : 0);
    note("ftruncate file %d size %lx", file, size);
    const int a = file == 1 ? writable_[0] : ours_.fds[file], b = file == 1 ? writable_[1] : native_.fds[file];
    if (ftruncate(a, long(size)) != 0 || ftruncate(b, long(size)) != 0) abort();
  }

  // What the payload would see: the device runs, faults, asks.
  Outcome guest_touch(uint64_t addr, Touch how) {
    const uint32_t needed = how == Touch::kWrite ? km::kWrite : how == Touch::kFetch ? km::kExec : km::kRead;
    for (int round = 0; round < 8; ++round) {
      const uint32_t access = machine_.access(addr & ~(kPage - 1));
      if (access & needed) {
        // The guest may: does the host have the page? A fetch or read needs it readable, a write writable.
        if ((how == Touch::kWrite ? host::probe_write(addr) : host::probe_read(addr)) == 0) return {};
        const auto verdict = space_.memory_fault(chance(50) ? addr & ~(kPage - 1) : 0);
        if (verdict.signo) return {verdict.signo, verdict.code, verdict.address};
        hidden_ = true;
        continue;
      }
      const uint32_t error = 4 | (access ? 1 : 0) | (how == Touch::kWrite ? 2 : how == Touch::kFetch ? 16 : 0);
      const auto verdict = space_.page_fault(addr, error);
      if (verdict.signo) return {verdict.signo, verdict.code, verdict.address};
    }
    fail("guest access does not settle");
    return {};
  }

  void access() {
    const uint64_t offset = some_page() * kPage + (chance(30) ? 0 : below(kPage / 4) * 4);
    auto how = static_cast<Touch>(below(3));
    if (how == Touch::kFetch) {
      uint8_t byte = 0;
      const bool known = peek(kNative + offset, &byte, 1) == 1;
      if (known && byte != 0xc3) how = Touch::kRead;
      if (!known && (native_prot(kNative + offset) & (PROT_EXEC | PROT_READ)) == PROT_EXEC) return;  // WX: unknown code
    }
    note("touch page %lu+%lx how %d", offset / kPage, offset % kPage, int(how));
    const Outcome native = touch(kNative + offset, how);
    Outcome expected = native;
    if (native.signo) expected.address += kOurs - kNative;
    const Outcome ours = guest_touch(kOurs + offset, how);
    if (!(ours == expected)) {
      fail("signals differ: ours %d/%d at %lx, native %d/%d at %lx", ours.signo, ours.code, ours.address, native.signo,
           native.code, native.address);
      return;
    }
    if (how == Touch::kWrite && ours.signo == 0) {
      const auto value = uint8_t(offset % kPage == 0 ? 0xc3 : below(256));
      *reinterpret_cast<volatile uint8_t*>(kOurs + offset) = value;  // just proved writable
      *reinterpret_cast<volatile uint8_t*>(kNative + offset) = value;
    }
  }

  static uint32_t native_prot(uint64_t addr) {
    const auto lines = host_maps(addr, addr + 1);
    return lines.empty() ? 0 : lines[0].prot;
  }

  static ssize_t peek(uint64_t addr, void* to, size_t len) {
    const iovec local{to, len}, remote{reinterpret_cast<void*>(addr), len};  // read by the kernel, not by us
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
  }

  static std::vector<MapsLine> normal(std::vector<MapsLine> lines, uint64_t base) {
    std::vector<MapsLine> out;
    for (MapsLine line : lines) {
      line.start -= base;
      line.end -= base;
      if (line.name.find("/dev/zero") == 0) line.offset = 0;
      if (!out.empty() && out.back().end == line.start && out.back().prot == line.prot &&
          out.back().shared == line.shared && out.back().name == line.name &&
          (line.name.find("memfd") == std::string::npos ||
           out.back().offset + (out.back().end - out.back().start) == line.offset))
        out.back().end = line.end;
      else
        out.push_back(line);
    }
    return out;
  }

  void compare_maps() {
    const std::string trouble = compare_views(space_, machine_, !hidden_);
    if (!trouble.empty()) return fail("%s", trouble.c_str());
    const auto ours = normal(host_maps(kOurs, kOurs + kSize), kOurs);
    const auto native = normal(host_maps(kNative, kNative + kSize), kNative);
    for (size_t i = 0; i < std::max(ours.size(), native.size()); ++i) {
      const MapsLine a = i < ours.size() ? ours[i] : MapsLine{}, b = i < native.size() ? native[i] : MapsLine{};
      if (a.start == b.start && a.end == b.end && a.prot == b.prot && a.shared == b.shared && a.offset == b.offset &&
          a.name == b.name)
        continue;
      return fail("maps differ: ours pages %lu-%lu prot %u shared %d offset %lx '%s', native %lu-%lu %u %d %lx '%s'",
                  a.start / kPage, a.end / kPage, a.prot, a.shared, a.offset, a.name.c_str(), b.start / kPage,
                  b.end / kPage, b.prot, b.shared, b.offset, b.name.c_str());
    }
    if (host_maps(kWindow.start, kOurs).size() || host_maps(kOurs + kSize, kWindow.end).size())
      fail("something is mapped in the window outside the region");
  }

  void compare_contents() {
    std::vector<uint8_t> a(512 * kPage), b(512 * kPage);
    for (uint64_t at = 0; at < kSize; at += kPage) {
      // Whole chunks first; page by page where the kernel stops.
      const ssize_t x = peek(kOurs + at, a.data(), kPage), y = peek(kNative + at, b.data(), kPage);
      if (x != y) return fail("page %lu: readable %zd bytes, natively %zd", at / kPage, x, y);
      if (x > 0 && memcmp(a.data(), b.data(), size_t(x)) != 0) return fail("page %lu: contents differ", at / kPage);
    }
  }

  RecordingMachine machine_;
  km::AddressSpace space_{machine_};
  Side ours_{}, native_{};
  int writable_[2] = {-1, -1};
  uint64_t file_sizes_[kFiles] = {};
  std::mt19937_64 random_;
  unsigned seed_;
  size_t tail_ = getenv("DUEL_LOG") ? size_t(atoi(getenv("DUEL_LOG"))) : 25;
  bool good_ = true, hidden_ = false;
  std::vector<std::string> log_;
};

}  // namespace

int main(int argc, char** argv) {
  install_touch_handlers();
  setvbuf(stdout, nullptr, _IOLBF, 0);
  const unsigned first = argc > 1 ? unsigned(atoi(argv[1])) : 1;
  const unsigned count = argc > 2 ? unsigned(atoi(argv[2])) : 10;
  const int steps = argc > 3 ? atoi(argv[3]) : 1000;
  for (unsigned seed = first; seed < first + count; ++seed) {
    Duel duel(seed);
    CHECK(duel.run(steps));
  }
  return finish();
}
