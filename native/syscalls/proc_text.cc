// SPDX-License-Identifier: Apache-2.0
// Contents of the virtual files in /proc/self (proc(5)).
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <string_view>

#include "native/syscalls/internal.h"
#include "native/syscalls/proc_files.h"

namespace km {
namespace {

using Dir = const std::string&;

/// The host's file of that name, or "".
std::string host_text(Dir dir, const char* name) {
  std::string text;
  int64_t fd = open_own_proc((dir + name).c_str());
  if (fd < 0) return text;
  char buffer[8192];
  for (;;) {
    int64_t n = host_syscall(SYS_read, static_cast<uint64_t>(fd), word(buffer), sizeof(buffer));
    if (n == -EINTR) continue;
    if (n <= 0) break;
    text.append(buffer, static_cast<size_t>(n));
  }
  host_syscall(SYS_close, static_cast<uint64_t>(fd));
  return text;
}

/// Takes the first line (with its newline) off `text`.
std::string_view next_line(std::string_view* text) {
  size_t end = text->find('\n');
  end = end == std::string_view::npos ? text->size() : end + 1;
  std::string_view line = text->substr(0, end);
  text->remove_prefix(end);
  return line;
}

bool starts_range(std::string_view line, uint64_t* start) {
  uint64_t end = 0;
  return sscanf(std::string(line).c_str(), "%" SCNx64 "-%" SCNx64, start, &end) == 2;
}

/// smaps: the host's, without the entries that lie outside the payload's window.
std::string smaps_text(Dir dir) {
  const Window window = process().memory->window();
  std::string host = host_text(dir, "smaps"), text;
  std::string_view rest = host;
  bool keep = false;
  while (!rest.empty()) {
    std::string_view line = next_line(&rest);
    uint64_t start = 0;
    if (starts_range(line, &start)) keep = start >= window.start && start < window.end;
    if (keep) text.append(line);
  }
  return text;
}

/// smaps_rollup: sums of the above.
std::string rollup_text(Dir dir) {
  struct Sum {
    std::string key;
    uint64_t kilobytes;
  };
  std::vector<Sum> sums;
  std::string smaps = smaps_text(dir);
  std::string_view rest = smaps;
  while (!rest.empty()) {
    std::string line(next_line(&rest));
    char key[64];
    uint64_t value = 0;
    if (sscanf(line.c_str(), "%63[^:]: %" SCNu64 " kB", key, &value) != 2) continue;
    if (strcmp(key, "Size") == 0 || strstr(key, "PageSize") != nullptr) continue;
    Sum* found = nullptr;
    for (Sum& sum : sums)
      if (sum.key == key) found = &sum;
    if (found == nullptr) sums.push_back({key, value});
    else found->kilobytes += value;
  }
  const Window window = process().memory->window();
  char line[128];
  snprintf(line, sizeof(line), "%08" PRIx64 "-%08" PRIx64 " ---p 00000000 00:00 0                          [rollup]\n",
           window.start, window.end);
  std::string text = line;
  for (const Sum& sum : sums) {
    snprintf(line, sizeof(line), "%-16s%8" PRIu64 " kB\n", (sum.key + ":").c_str(), sum.kilobytes);
    text += line;
  }
  return text;
}

/// numa_maps: lines start with the address alone.
std::string numa_text(Dir dir) {
  const Window window = process().memory->window();
  std::string host = host_text(dir, "numa_maps"), text;
  std::string_view rest = host;
  while (!rest.empty()) {
    std::string_view line = next_line(&rest);
    uint64_t start = strtoull(std::string(line).c_str(), nullptr, 16);
    if (start >= window.start && start < window.end) text.append(line);
  }
  return text;
}

std::string cmdline_text(Dir) {
  std::string text;
  for (const std::string& argument : process().argv) text.append(argument.c_str(), argument.size() + 1);
  return text;
}

std::string auxv_text(Dir) {
  const std::vector<uint64_t>& auxv = process().auxv;
  return std::string(reinterpret_cast<const char*>(auxv.data()), auxv.size() * sizeof(uint64_t));  // plain integers
}

/// Bytes of the payload's mappings: what VmSize means.
uint64_t mapped_bytes() {
  uint64_t total = 0;
  process().memory->for_each([&](uint64_t start, const Vma& vma) { total += vma.end - start; });
  return total;
}

/// stat: the host's with size the payload's and the addresses of the monitor's own program zeroed (proc(5) shows
/// zeros to those who may not see them).
std::string stat_text(Dir dir) {
  std::string host = host_text(dir, "stat");
  size_t close = host.rfind(')');
  if (close == std::string::npos) return host;
  std::string text = host.substr(0, close + 1);
  std::string rest = host.substr(close + 1);
  int field = 3;  // the first behind the name
  char* state = nullptr;
  for (char* token = strtok_r(rest.data(), " \n", &state); token != nullptr; token = strtok_r(nullptr, " \n", &state)) {
    text += ' ';
    const bool address = (field >= 26 && field <= 30) || (field >= 45 && field <= 51);
    if (field == 20) text += std::to_string(process().live_threads);
    else if (field == 23) text += std::to_string(mapped_bytes());
    else text += address ? "0" : token;
    field++;
  }
  return text + "\n";
}

/// status: the host's with VmSize, VmPeak and Threads the payload's (KVM runs a thread of its own in the process).
std::string status_text(Dir dir) {
  std::string host = host_text(dir, "status"), text;
  std::string_view rest = host;
  while (!rest.empty()) {
    std::string_view line = next_line(&rest);
    const bool size = line.substr(0, 7) == "VmSize:" || line.substr(0, 7) == "VmPeak:";
    const bool threads = line.substr(0, 8) == "Threads:";
    if (threads) text += "Threads:\t" + std::to_string(process().live_threads) + "\n";
    else if (!size) text.append(line);
    if (!size) continue;
    char own[64];
    snprintf(own, sizeof(own), "%.7s\t%8" PRIu64 " kB\n", line.data(), mapped_bytes() / 1024);
    text += own;
  }
  return text;
}

/// statm: sizes in pages; resident and shared are the host's.
std::string statm_text(Dir dir) {
  std::string host = host_text(dir, "statm");
  size_t blank = host.find(' ');
  return blank == std::string::npos ? host : std::to_string(mapped_bytes() / 4096) + host.substr(blank);
}

struct VirtualFile {
  const char* name;
  std::string (*text)(Dir dir);
};

std::string maps_text(Dir) { return process().memory->maps_text(); }

constexpr VirtualFile kVirtualFiles[] = {
    {"maps", maps_text},       {"smaps", smaps_text}, {"smaps_rollup", rollup_text}, {"numa_maps", numa_text},
    {"cmdline", cmdline_text}, {"auxv", auxv_text},   {"stat", stat_text},           {"status", status_text},
    {"statm", statm_text},
};

}  // namespace

bool own_proc_text(const std::string& directory, const std::string& name, std::string* text) {
  for (const VirtualFile& file : kVirtualFiles) {
    if (name != file.name) continue;
    *text = file.text(directory);
    return true;
  }
  return false;
}

}  // namespace km
