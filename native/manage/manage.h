// SPDX-License-Identifier: Apache-2.0
// The management plane of one monitor: a socket in the registry directory that answers what runs here.
//
// Nobody waits on it. The socket asks the kernel for a signal at a connection (O_ASYNC); the payload thread that gets
// it starts a thread that serves clients and goes away after them. The signal is SIGBUS, which the monitor has a handler
// for and never blocks anyway, told apart by its descriptor; so no signal is taken from the payload. A call the signal
// interrupts is resumed with the time it had left. The serving thread has a descriptor table of its own: the payload's
// numbers stay the payload's.
#pragma once

#include <csignal>
#include <cstdint>

namespace km {

/// Binds the socket: /run/kontain for root, $XDG_RUNTIME_DIR/kontain else. Quietly does without where it cannot (a
/// container's /run may be read-only). Call before the payload runs, and in a forked child.
void manage_announce();

/// Removes the socket's name; call when the process ends.
void manage_withdraw();

/// In the host signal handler: true when the signal was the socket's.
bool manage_signal(const siginfo_t& info);

/// In the host signal handler, on a thread that is no payload thread: passes the signal on to one that is.
void manage_pass_on(const siginfo_t& info);

namespace detail {
extern thread_local volatile sig_atomic_t manage_called;
}

/// The calling thread got the socket's signal and has not answered yet.
inline bool manage_called() { return detail::manage_called != 0; }

/// Starts the serving thread unless it runs. Outside the signal handler only.
void manage_answer();

}  // namespace km
