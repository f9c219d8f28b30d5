// SPDX-License-Identifier: Apache-2.0
// A monitor thread that takes a descriptor table of its own starts with a copy of the payload's. Until it has dropped
// the copy, a file the payload closes stays open: a listener still accepts, a pipe has no end. So a payload's close
// returns only when no copy is being dropped.
#pragma once

#include <atomic>

namespace km {

namespace detail {
inline std::atomic<int> fd_copies{0};
}

/// Before the table is copied.
inline void fd_copy_begins() { detail::fd_copies = 1; }

/// After the copies are closed; also in a forked child, which has only the thread that forked.
inline void fd_copy_ends() {
  detail::fd_copies = 0;
  detail::fd_copies.notify_all();
}

/// After a close: a copy that began later does not have the file. Waits some microseconds, once in a while.
inline void fd_copy_wait() { detail::fd_copies.wait(1); }

}  // namespace km
