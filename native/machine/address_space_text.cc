// SPDX-License-Identifier: Apache-2.0
// /proc/self/maps as the payload must see it: the host's lines inside the window (offsets, devices, inodes and names
// come with them), with the payload's rights and its own [heap] and [stack].
#include <fcntl.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "native/machine/address_space.h"
#include "native/machine/address_space_host.h"

namespace km {

/// One line of the host's /proc/self/maps.
struct HostLine {
  uint64_t start = 0, end = 0, offset = 0;
  char flags[5] = "----";
  std::string device_inode;  ///< "08:01 1234"
  std::string name;
};

namespace {

std::string read_host_maps() {
  std::string text;
  const int64_t fd = host::call(SYS_openat, uint64_t(int64_t{AT_FDCWD}), host::word("/proc/self/maps"),
                                O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char buffer[16384];
  for (;;) {
    const int64_t n = host::call(SYS_read, uint64_t(fd), host::word(buffer), sizeof buffer);
    if (n == -EINTR) continue;
    if (n <= 0) break;
    text.append(buffer, size_t(n));
  }
  host::call(SYS_close, uint64_t(fd));
  return text;
}

bool parse_line(const char* line, size_t length, HostLine* out) {
  const std::string copy(line, length);
  unsigned long start, end, offset, inode;
  unsigned major, minor;
  int name_at = 0;
  if (sscanf(copy.c_str(), "%lx-%lx %4s %lx %x:%x %lu%n", &start, &end, out->flags, &offset, &major, &minor, &inode,
             &name_at) != 7)
    return false;
  char id[64];
  snprintf(id, sizeof id, "%02x:%02x %lu", major, minor, inode);
  out->start = start;
  out->end = end;
  out->offset = offset;
  out->device_inode = id;
  const size_t name = copy.find_first_not_of(' ', size_t(name_at));
  out->name = name == std::string::npos ? "" : copy.substr(name);
  return true;
}

void rights(uint32_t prot, bool shared, char flags[5]) {
  flags[0] = prot & PROT_READ ? 'r' : '-';
  flags[1] = prot & PROT_WRITE ? 'w' : '-';
  flags[2] = prot & PROT_EXEC ? 'x' : '-';
  flags[3] = shared ? 's' : 'p';
  flags[4] = 0;
}

void print_line(std::string* text, const HostLine& line) {
  char head[128];
  int n = snprintf(head, sizeof head, "%08lx-%08lx %s %08lx %s ", static_cast<unsigned long>(line.start),
                   static_cast<unsigned long>(line.end), line.flags, static_cast<unsigned long>(line.offset),
                   line.device_inode.c_str());
  text->append(head, size_t(n));
  if (!line.name.empty()) {
    if (n < 73) text->append(size_t(73 - n), ' ');  // the kernel pads so
    text->append(line.name);
  }
  text->push_back('\n');
}

bool is_anonymous(const HostLine& line) { return line.device_inode == "00:00 0"; }

/// Joins `next` to `line` when the payload's own kernel would have shown one VMA.
bool join(HostLine* line, const HostLine& next) {
  if (line->end != next.start || strcmp(line->flags, next.flags) != 0 || line->name != next.name ||
      line->device_inode != next.device_inode)
    return false;
  if (!is_anonymous(next) && line->offset + (line->end - line->start) != next.offset) return false;
  line->end = next.end;
  return true;
}

}  // namespace

std::string AddressSpace::maps_text() {
  std::lock_guard<std::mutex> guard(lock_);
  const std::string maps = read_host_maps();
  std::vector<HostLine> lines;
  auto add = [&](const HostLine& line) {
    if (lines.empty() || !join(&lines.back(), line)) lines.push_back(line);
  };
  for (size_t at = 0; at < maps.size();) {
    const size_t stop = std::min(maps.find('\n', at), maps.size());
    HostLine line;
    const bool good = parse_line(maps.data() + at, stop - at, &line);
    at = stop + 1;
    if (!good) continue;
    for (const auto& [start, vma] : pieces_of(line.start, line.end)) {
      HostLine piece = line;
      piece.start = start;
      piece.end = vma.end;
      if (!is_anonymous(line)) piece.offset += start - line.start;
      rights(vma.prot, vma.shared, piece.flags);
      if (vma.kind == VmaKind::kHeap) piece.name = "[heap]";
      if (vma.kind == VmaKind::kStack) piece.name = "[stack]";
      add(piece);
    }
  }
  for (const Special& special : specials_) {
    HostLine line;
    line.start = special.start;
    line.end = special.end;
    line.device_inode = "00:00 0";
    line.name = special.name;
    rights(special.prot, false, line.flags);
    lines.push_back(line);
  }
  std::stable_sort(lines.begin(), lines.end(), [](const HostLine& a, const HostLine& b) { return a.start < b.start; });
  std::string text;
  for (const HostLine& line : lines) print_line(&text, line);
  return text;
}

}  // namespace km
