// SPDX-License-Identifier: Apache-2.0
// Descriptors of the monitor itself (device, machine, vCPUs, log), kept out of the payload's way and sight.
#pragma once

namespace km {

/// Moves `fd` to a high number (above the soft RLIMIT_NOFILE where the hard limit leaves room), close-on-exec,
/// and hides it from the payload. Returns the new number, or -errno with `fd` still open.
int make_private_fd(int fd);

/// Closes a private descriptor and forgets it.
void close_private_fd(int fd);

/// True when `fd` belongs to the monitor: every call of the payload that names it gets EBADF.
bool is_private_fd(int fd);

/// The lowest private descriptor that is `from` or above, or -1.
int next_private_fd(unsigned from);

}  // namespace km
