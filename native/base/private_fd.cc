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

constexpr int kSpan = 512;    // 288 vCPUs, device, machine, log, and room
constexpr int kLowest = 16;   // where even the hard limit is small
constexpr int kUsual = 1024;  // the floor never is higher
constexpr int kEnd = 1 << 20;  // fs.nr_open's default; few of the pages below are ever touched

std::mutex lock;
std::atomic<int> floor_fd{-1};
std::atomic<int> highest_fd{-1};
std::atomic<uint64_t> hidden[kEnd / 64];  ///< by number

/// First number for private descriptors: the payload's soft limit if the hard limit leaves room above it, else the
/// top of the range. RLIMIT_NOFILE gates only the allocation of a number, not its later use (getrlimit(2)).
int choose_floor(const rlimit& limit) {
  const rlim_t soft = limit.rlim_cur < kUsual ? limit.rlim_cur : kUsual;
  if (soft + kSpan <= limit.rlim_max) return static_cast<int>(soft);
  return limit.rlim_max > kSpan + kLowest ? static_cast<int>(limit.rlim_max - kSpan) : kLowest;
}

/// Makes room for private numbers, the payload's own ones may fill the rest up to its limit. A hard limit that the
/// payload lowered stays where the monitor must not raise it; then they are sought below. Returns from where on.
int make_room(int floor, const rlimit& limit, bool* changed) {
  const auto low = static_cast<rlim_t>(floor);
  const rlim_t want = (limit.rlim_cur > low && limit.rlim_cur < kEnd ? limit.rlim_cur : low) + kSpan;
  if (want > limit.rlim_max) {
    const rlimit beyond{want, want};
    *changed = setrlimit(RLIMIT_NOFILE, &beyond) == 0;
    if (*changed) return floor;
  }
  const rlimit raised{want < limit.rlim_max ? want : limit.rlim_max, limit.rlim_max};
  *changed = raised.rlim_cur > limit.rlim_cur && setrlimit(RLIMIT_NOFILE, &raised) == 0;
  return low + kSpan <= limit.rlim_max ? floor : choose_floor(limit);
}

}  // namespace

int make_private_fd(int fd) {
  std::lock_guard<std::mutex> guard(lock);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -errno;
  if (floor_fd < 0) floor_fd = choose_floor(limit);
  bool changed = false;
  const int from = make_room(floor_fd, limit, &changed);
  if (from < floor_fd) floor_fd = from;
  int moved = fcntl(fd, F_DUPFD_CLOEXEC, from);
  int error = errno;
  if (changed) setrlimit(RLIMIT_NOFILE, &limit);
  if (moved < 0) return error == EINVAL ? -EMFILE : -error;  // EINVAL: the number itself is beyond the limit
  if (moved >= kEnd) {
    close(moved);
    return -EMFILE;
  }
  close(fd);
  hidden[moved / 64] |= 1ull << (moved % 64);
  if (moved > highest_fd) highest_fd = moved;
  return moved;
}

void close_private_fd(int fd) {
  if (fd < 0 || fd >= kEnd) return;
  hidden[fd / 64] &= ~(1ull << (fd % 64));
  close(fd);
}

bool is_private_fd(int fd) {
  if (fd < 0 || fd >= kEnd) return false;
  return (hidden[fd / 64].load(std::memory_order_relaxed) >> (fd % 64)) & 1;
}

int next_private_fd(unsigned from) {
  const int base = floor_fd.load(std::memory_order_relaxed);
  if (base < 0) return -1;
  const auto floor = static_cast<unsigned>(base);
  const auto last = static_cast<unsigned>(highest_fd.load(std::memory_order_relaxed));
  for (unsigned fd = from > floor ? from : floor; fd <= last; fd++)
    if (is_private_fd(static_cast<int>(fd))) return static_cast<int>(fd);
  return -1;
}

}  // namespace km
