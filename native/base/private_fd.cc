// SPDX-License-Identifier: Apache-2.0
#include "native/base/private_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <mutex>

namespace km {
namespace {

constexpr int kSpan = 512;  // 288 vCPUs, device, machine, log, and room

std::mutex lock;
std::atomic<int> floor_fd{-1};
std::atomic<uint64_t> hidden[kSpan / 64];

/// First number for private descriptors: the payload's soft limit if the hard limit leaves room above it, else the
/// top of the range. RLIMIT_NOFILE gates only the allocation of a number, not its later use (getrlimit(2)).
int choose_floor(const rlimit& limit) {
  constexpr rlim_t kUsual = 1024;
  rlim_t soft = limit.rlim_cur < kUsual ? limit.rlim_cur : kUsual;
  if (soft + kSpan <= limit.rlim_max) return static_cast<int>(soft);
  return limit.rlim_max > kSpan ? static_cast<int>(limit.rlim_max - kSpan) : 16;
}

}  // namespace

int make_private_fd(int fd) {
  std::lock_guard<std::mutex> guard(lock);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -errno;
  if (floor_fd < 0) floor_fd = choose_floor(limit);
  rlimit raised = limit;
  rlim_t need = static_cast<rlim_t>(floor_fd) + kSpan;
  if (raised.rlim_cur < need) raised.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
  bool changed = raised.rlim_cur != limit.rlim_cur && setrlimit(RLIMIT_NOFILE, &raised) == 0;
  int moved = fcntl(fd, F_DUPFD_CLOEXEC, static_cast<int>(floor_fd));
  int error = errno;
  if (changed) setrlimit(RLIMIT_NOFILE, &limit);
  if (moved < 0) return error == EINVAL ? -EMFILE : -error;  // EINVAL: the number itself is beyond the limit
  int index = moved - floor_fd;
  if (index >= kSpan) {
    close(moved);
    return -EMFILE;
  }
  close(fd);
  hidden[index / 64] |= 1ull << (index % 64);
  return moved;
}

void close_private_fd(int fd) {
  int index = fd - floor_fd;
  if (floor_fd < 0 || index < 0 || index >= kSpan) return;
  hidden[index / 64] &= ~(1ull << (index % 64));
  close(fd);
}

bool is_private_fd(int fd) {
  int base = floor_fd.load(std::memory_order_relaxed);
  int index = fd - base;
  if (base < 0 || index < 0 || index >= kSpan) return false;
  return (hidden[index / 64].load(std::memory_order_relaxed) >> (index % 64)) & 1;
}

int next_private_fd(unsigned from) {
  const int base = floor_fd.load(std::memory_order_relaxed);
  if (base < 0) return -1;
  const unsigned floor = static_cast<unsigned>(base);
  for (unsigned fd = from > floor ? from : floor; fd < floor + kSpan; fd++)
    if (is_private_fd(static_cast<int>(fd))) return static_cast<int>(fd);
  return -1;
}

}  // namespace km
