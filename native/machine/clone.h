// SPDX-License-Identifier: Apache-2.0
// clone(2) in its three shapes: a thread, a fork, and a vfork child that borrows its parent's memory and vCPU.
#pragma once

#include <linux/sched.h>

#include <cstdint>

#include "native/machine/guest_thread.h"

namespace km {

/// clone and clone3 arguments in one form.
struct CloneRequest {
  uint64_t flags = 0;        ///< CLONE_*, without the exit signal
  uint64_t stack = 0;        ///< child's initial rsp, 0: the parent's
  uint64_t parent_tid = 0, child_tid = 0, tls = 0;
  int exit_signal = 0;
  uint64_t pidfd = 0;        ///< where CLONE_PIDFD puts the descriptor
};

/// Flags that are the host's business alone: they go to its clone as they are. Not CLONE_FILES: a child with memory of
/// its own has a monitor of its own, and must not close the other one's descriptors or find them in its table.
inline constexpr uint64_t kHostCloneFlags = CLONE_FS | CLONE_PARENT | CLONE_SYSVSEM | CLONE_IO | CLONE_UNTRACED | CLONE_NEWCGROUP |
                                 CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS;

int64_t clone_thread(GuestThread& parent, const CloneRequest& request);
int64_t clone_process(GuestThread& parent, const CloneRequest& request);
int64_t clone_vfork(GuestThread& parent, const CloneRequest& request);

/// Sets result and stack of a child whose registers are a copy of its parent's. Returns 0 or -EFAULT.
int place_child(GuestThread& parent, Regs& child, uint64_t stack);

/// Marks the robust futexes of a dying thread (man 2 set_robust_list); every pointer is checked.
void robust_list_exit(GuestThread& thread);

/// The same for every thread of a process that ends.
void release_robust_locks(Process& process);

}  // namespace km
