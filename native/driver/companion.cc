// SPDX-License-Identifier: Apache-2.0
#include "native/driver/companion.h"

#include <errno.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kkm/include/uapi/kkm.h"

namespace km::kkm {
namespace {

constexpr unsigned kRseqUnregister = 1;   // RSEQ_FLAG_UNREGISTER, linux/rseq.h
constexpr unsigned kRseqSize = 32;        // what glibc registers at least (struct rseq)

// System calls by number only: another thread may have held a lock of libc's at the fork.
[[noreturn]] void become_companion(int vm_fd) {
  syscall(SYS_setsid);
  syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (__rseq_size != 0) {
    // The kernel would go on writing the area, in what is the guest's memory then.
    char* area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
    syscall(SYS_rseq, area, kRseqSize, kRseqUnregister, RSEQ_SIG);
  }
  if (vm_fd > 0) syscall(SYS_close_range, 0, vm_fd - 1, 0);
  syscall(SYS_close_range, vm_fd + 1, ~0u, 0);
  // KKM_SPACE_INIT: returns only when refused; otherwise the module's stub goes on in a new address space. EAGAIN: a
  // reader of /proc looks at this process.
  do {
    syscall(SYS_ioctl, vm_fd, KKM_SPACE_INIT, vm_fd);
  } while (errno == EAGAIN && syscall(SYS_sched_yield) == 0);
  for (;;) syscall(SYS_exit_group, errno);
}

}  // namespace

pid_t spawn_companion(int vm_fd) {
  // fork(2) without a death signal: neither the payload's SIGCHLD nor its wait() shall know of this child.
  long pid = syscall(SYS_clone, 0, 0, 0, 0, 0);
  if (pid == 0) become_companion(vm_fd);
  return pid < 0 ? -errno : static_cast<pid_t>(pid);
}

int companion_status(int vm_fd, pid_t pid) {
  for (;;) {
    if (ioctl(vm_fd, KVM_CHECK_EXTENSION, KKM_CAP_COMPANION) == 1) return 0;
    int status = 0;
    pid_t ended = waitpid(pid, &status, WNOHANG | __WALL);
    if (ended == pid) return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? -WEXITSTATUS(status) : -EIO;
    if (ended < 0 && errno != EINTR) return -errno;
    usleep(50);
  }
}

void reap_companion(pid_t pid) {
  int status = 0;
  // A vCPU still held somewhere would keep it. After a setuid(2) of the payload's it may be another user's: waiting would
  // be for ever then; it ends with this process.
  if (kill(pid, SIGKILL) != 0) return;
  while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR) {
  }
}

void reap_strays() {
  int status = 0;
  while (waitpid(-1, &status, WNOHANG | __WCLONE) > 0) {
  }
}

}  // namespace km::kkm
