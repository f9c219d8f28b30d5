// SPDX-License-Identifier: Apache-2.0
// A Machine that only remembers, and helpers to compare its view with the tree's and the host's.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "native/machine/address_space.h"

namespace km_test {

inline int passed = 0, failed = 0;

inline bool check(bool good, const char* what, const char* file, int line) {
  if (good) {
    ++passed;
  } else {
    ++failed;
    printf("%s:%d: %s\n", file, line, what);
  }
  return good;
}

#define CHECK(condition) km_test::check((condition), #condition, __FILE__, __LINE__)

inline int finish() {
  printf("%d passed, %d failed\n", passed, failed);
  return failed ? 1 : 0;
}

constexpr uint64_t kPage = 4096, kMiB = 1 << 20, kGiB = 1 << 30;
constexpr km::Window kWindow{2 * kMiB, 512 * kGiB - 2 * kMiB};

struct MapsLine {
  uint64_t start = 0, end = 0;
  uint32_t prot = 0;
  bool shared = false;
  uint64_t offset = 0;
  unsigned long inode = 0;
  std::string name;
};

/// The host's mappings that touch [lo, hi), clipped to it.
inline std::vector<MapsLine> host_maps(uint64_t lo, uint64_t hi) {
  std::vector<MapsLine> lines;
  const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  std::string text;
  char buffer[65536];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, size_t(n));
  close(fd);
  for (size_t at = 0; at < text.size();) {
    const size_t stop = std::min(text.find('\n', at), text.size());
    const std::string row = text.substr(at, stop - at);
    at = stop + 1;
    MapsLine line;
    char flags[5];
    int name = 0;
    unsigned long start, end, offset;
    if (sscanf(row.c_str(), "%lx-%lx %4s %lx %*s %lu %n", &start, &end, flags, &offset, &line.inode, &name) != 5) abort();
    if (end <= lo || start >= hi) continue;
    line.start = std::max<uint64_t>(start, lo);
    line.end = std::min<uint64_t>(end, hi);
    line.offset = line.inode ? offset + (line.start - start) : 0;
    if (flags[0] == 'r') line.prot |= PROT_READ;
    if (flags[1] == 'w') line.prot |= PROT_WRITE;
    if (flags[2] == 'x') line.prot |= PROT_EXEC;
    line.shared = flags[3] == 's';
    line.name = row.substr(size_t(name));
    lines.push_back(line);
  }
  return lines;
}

/// What the guest's page tables would say, and whether anybody asked for the impossible.
class RecordingMachine : public km::Machine {
 public:
  km::Window window() const override { return kWindow; }

  int protect(uint64_t addr, uint64_t len, uint32_t access) override {
    ++calls;
    if (!valid(addr, len)) return -EINVAL;
    if (fail_after >= 0 && fail_after-- == 0) return -ENOMEM;
    if (access != km::kHidden && !host_allows(addr, len, access)) ++premature;
    set(addr, addr + len, access);
    return 0;
  }

  int fill(uint64_t addr, uint64_t lo, uint64_t hi, uint32_t access) override {
    ++fills;
    if (!valid(addr, kPage) || lo > addr || hi < addr + kPage || !valid(lo, hi - lo)) return -EINVAL;
    if (!host_allows(addr, kPage, access)) ++premature;
    set(addr, addr + kPage, access);
    return 0;
  }

  int map_private(uint64_t, const void*, uint64_t, uint32_t) override { return 0; }
  std::unique_ptr<km::Vcpu> create_vcpu(int* error) override {
    *error = EAGAIN;
    return nullptr;
  }
  uint64_t sigreturn_address() const override { return 0; }
  size_t xstate_size() const override { return 0; }
  uint64_t xcr0() const override { return 0; }
  const char* kind() const override { return "recording"; }
  void abandon() override {}

  uint32_t access(uint64_t addr) const {
    auto it = ranges.upper_bound(addr);
    if (it == ranges.begin()) return km::kHidden;
    --it;
    return addr < it->second.first ? it->second.second : uint32_t{km::kHidden};
  }

  std::map<uint64_t, std::pair<uint64_t, uint32_t>> ranges;  ///< start -> end, access
  int calls = 0, fills = 0;
  int bad_ranges = 0;   ///< unaligned or outside the window
  int premature = 0;    ///< rights granted that the host mapping did not have
  int fail_after = -1;  ///< the n-th protect() from now fails once
  bool check_host = true;

 private:
  bool valid(uint64_t addr, uint64_t len) {
    const bool good = addr % kPage == 0 && len % kPage == 0 && len != 0 && addr >= kWindow.start &&
                      len <= kWindow.end - kWindow.start && addr <= kWindow.end - len;
    bad_ranges += !good;
    return good;
  }

  bool host_allows(uint64_t addr, uint64_t len, uint32_t access) const {
    if (!check_host) return true;
    uint64_t at = addr;
    for (const MapsLine& line : host_maps(addr, addr + len)) {
      if (line.start != at || (access & ~line.prot & ~uint32_t{km::kRead})) return false;
      if (line.prot == 0) return false;
      at = line.end;
    }
    return at == addr + len;
  }

  void cut(uint64_t at) {
    auto it = ranges.upper_bound(at);
    if (it == ranges.begin()) return;
    --it;
    if (it->first == at || it->second.first <= at) return;
    ranges[at] = it->second;
    it->second.first = at;
  }

  void set(uint64_t lo, uint64_t hi, uint32_t access) {
    cut(lo);
    cut(hi);
    ranges.erase(ranges.lower_bound(lo), ranges.lower_bound(hi));
    if (access != km::kHidden) ranges[lo] = {hi, access};
  }
};

/// One difference between the three views in words, or "" when there is none. `exact`: nothing has been hidden by
/// memory_fault, so eager rights must be there.
inline std::string compare_views(km::AddressSpace& space, const RecordingMachine& machine, bool exact) {
  char text[200];
  auto lines = host_maps(kWindow.start, kWindow.end);
  // Page-exact interval comparison of host and tree.
  std::vector<MapsLine> tree;
  std::string trouble;
  uint64_t previous = 0;
  space.for_each([&](uint64_t start, const km::Vma& vma) {
    if (start < previous || vma.end <= start) trouble = "tree: overlap or empty VMA";
    previous = vma.end;
    MapsLine line;
    line.start = start;
    line.end = vma.end;
    line.prot = vma.prot == 0 ? 0 : vma.prot | PROT_READ;
    line.shared = vma.shared;
    tree.push_back(line);
    for (uint64_t at = start; at < vma.end;) {  // guest against tree
      const uint32_t access = machine.access(at);
      auto next = machine.ranges.upper_bound(at);
      uint64_t stop = next == machine.ranges.end() ? vma.end : std::min(vma.end, next->first);
      if (access != km::kHidden) stop = std::min(stop, std::prev(next)->second.first);
      const bool wrong = (access & ~vma.access()) != 0 || (exact && vma.eager_access() & ~access);
      if (wrong) {
        snprintf(text, sizeof text, "guest %lx-%lx has %u, tree says %u (eager %u)", at, stop, access, vma.access(),
                 vma.eager_access());
        trouble = text;
      }
      at = stop;
    }
  });
  if (!trouble.empty()) return trouble;
  for (const auto& [start, range] : machine.ranges) {
    for (uint64_t at = start; at < range.first; at += kPage) {
      if (space.is_mapped(at, range.first - at)) break;
      if (space.is_mapped(at, kPage)) continue;
      snprintf(text, sizeof text, "guest sees %lx, which is not mapped", at);
      return text;
    }
  }
  auto join = [](std::vector<MapsLine>& list) {
    std::vector<MapsLine> out;
    for (const MapsLine& line : list) {
      if (!out.empty() && out.back().end == line.start && out.back().prot == line.prot &&
          out.back().shared == line.shared)
        out.back().end = line.end;
      else
        out.push_back(line);
    }
    list = out;
  };
  join(lines);
  join(tree);
  for (size_t i = 0; i < std::max(lines.size(), tree.size()); ++i) {
    const MapsLine a = i < lines.size() ? lines[i] : MapsLine{}, b = i < tree.size() ? tree[i] : MapsLine{};
    if (a.start == b.start && a.end == b.end && a.prot == b.prot && a.shared == b.shared) continue;
    snprintf(text, sizeof text, "host %lx-%lx prot %u shared %d, tree %lx-%lx prot %u shared %d", a.start, a.end, a.prot,
             a.shared, b.start, b.end, b.prot, b.shared);
    return text;
  }
  return "";
}

/// How an access to this process's own memory ends.
struct Outcome {
  int signo = 0, code = 0;
  uint64_t address = 0;
  bool operator==(const Outcome& o) const { return signo == o.signo && code == o.code && address == o.address; }
};

enum class Touch { kRead, kWrite, kFetch };

inline sigjmp_buf touch_jump;
inline Outcome touch_outcome;

inline void on_touch_signal(int signo, siginfo_t* info, void*) {
  touch_outcome = {signo, info->si_code, reinterpret_cast<uint64_t>(info->si_addr)};
  siglongjmp(touch_jump, 1);
}

inline void install_touch_handlers() {
  struct sigaction action {};
  action.sa_sigaction = on_touch_signal;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);
}

/// Really touches `addr`. A fetch is only done where the byte there is `ret`, or where nothing can be read.
inline Outcome touch(uint64_t addr, Touch how) {
  touch_outcome = {};
  if (sigsetjmp(touch_jump, 1)) return touch_outcome;
  auto* p = reinterpret_cast<volatile uint8_t*>(addr);  // the address under test; faults come to the handler
  if (how == Touch::kRead) (void)*p;
  // One locked read-modify-write: faults as a write, changes nothing.
  if (how == Touch::kWrite) asm volatile("lock addb $0, %0" : "+m"(*p));
  if (how == Touch::kFetch) reinterpret_cast<void (*)()>(addr)();
  return touch_outcome;
}

}  // namespace km_test
