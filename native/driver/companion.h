// SPDX-License-Identifier: Apache-2.0
// The companion: a child process whose address space becomes the guest's (docs/kkm.md).
#pragma once

#include <sys/types.h>

namespace km::kkm {

/// Forks a child that gives itself to the machine `vm_fd` (KKM_SPACE_INIT). It never runs code of the payload with
/// anything of the monitor's: descriptors are closed, the address space is replaced. Sends no SIGCHLD.
/// Returns its pid, or -errno of the fork. A child that is refused ends with
/// the errno as its status.
pid_t spawn_companion(int vm_fd);

/// Waits until the companion is one: 0, or -errno of why the module refused it (it is reaped then).
int companion_status(int vm_fd, pid_t pid);

/// Ends a companion and waits for it, if this process still has the right to (kill(2)).
/// Only for the process that spawned it, once.
void reap_companion(pid_t pid);

/// Takes in companions of an earlier program of this process (execve keeps children): none runs any more.
void reap_strays();

}  // namespace km::kkm
