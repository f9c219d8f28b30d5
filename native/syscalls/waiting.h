// SPDX-License-Identifier: Apache-2.0
// Descriptors inside arrays and sets (poll, ppoll, select, pselect6): the monitor's are not open there either.
#pragma once

#include <poll.h>

#include <cstdint>
#include <vector>

namespace km {

/// Array of struct pollfd, copied: the monitor's descriptors in it become a number that is not open.
class PolledFds {
 public:
  static constexpr uint64_t kMost = 1 << 20;  ///< more exceed every RLIMIT_NOFILE (fs.nr_open)

  /// False when it cannot be read, or is too long: address() is one the kernel answers with EFAULT when it looks.
  bool load(uint64_t addr, uint64_t count);

  /// What to give the kernel.
  uint64_t address() const;

  /// Writes `revents` back when the call succeeded. Its result, or -EFAULT.
  int64_t store(int64_t result) const;

 private:
  uint64_t addr_ = 0;
  bool readable_ = false;
  std::vector<pollfd> copied_;
};

/// Whether a set of select(n, r, w, e) or pselect6 names a descriptor of the monitor.
bool selects_private_fd(const uint64_t args[6]);

}  // namespace km
