// SPDX-License-Identifier: Apache-2.0
// System V and POSIX IPC, futexes, timers: the calls whose arguments hold addresses of their own.
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include <map>
#include <mutex>

#include "native/base/private_fd.h"
#include "native/syscalls/internal.h"

namespace km {

// --- shared memory ---------------------------------------------------------------------------------------------------

namespace {

/// Attached segments: start address to length. Survives fork, as the attachments do.
struct Attachments {
  std::mutex lock;
  std::map<uint64_t, uint64_t> lengths;
};

Attachments& attachments() {
  static Attachments table;
  return table;
}

constexpr int kPrivateIpc64 = 0x100;  // IPC_64: ignored on x86-64

}  // namespace

int64_t sys_shmat(GuestThread&, const uint64_t args[6]) {
  const int flags = static_cast<int>(args[2]);
  shmid_ds info;
  if (int64_t error = host_syscall(SYS_shmctl, args[0], IPC_STAT, word(&info)); error < 0) return error;
  uint64_t want = args[1];
  if (want % SHMLBA != 0) {
    if (!(flags & SHM_RND)) return -EINVAL;
    want -= want % SHMLBA;
  }
  const uint64_t length = (info.shm_segsz + 4095) & ~4095ull;
  int prot = flags & SHM_RDONLY ? PROT_READ : PROT_READ | PROT_WRITE;
  if (flags & SHM_EXEC) prot |= PROT_EXEC;
  // The address space places and shows an anonymous shared mapping; the segment then takes its place in the host's
  // view. Refused attachments (rights) leave nothing behind.
  AddressSpace& memory = *process().memory;
  int place = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
  if (want != 0) place |= flags & SHM_REMAP ? MAP_FIXED : MAP_FIXED_NOREPLACE;
  const int64_t address = memory.mmap(want, length, prot, place, -1, 0);
  if (address < 0) return address == -EEXIST ? -EINVAL : address;
  const int64_t result = host_syscall(SYS_shmat, args[0], static_cast<uint64_t>(address),
                                      static_cast<uint64_t>((flags & ~SHM_RND) | SHM_REMAP));
  if (result < 0) {
    memory.munmap(static_cast<uint64_t>(address), length);
    return result;
  }
  std::lock_guard<std::mutex> guard(attachments().lock);
  attachments().lengths[static_cast<uint64_t>(address)] = length;
  return address;
}

int64_t sys_shmdt(GuestThread&, const uint64_t args[6]) {
  uint64_t length = 0;
  {
    std::lock_guard<std::mutex> guard(attachments().lock);
    auto found = attachments().lengths.find(args[0]);
    if (found == attachments().lengths.end()) return -EINVAL;
    length = found->second;
    attachments().lengths.erase(found);
  }
  // The address space takes the range away from the guest and the host in that order; unmapping detaches.
  return process().memory->munmap(args[0], length);
}

int64_t sys_semctl(GuestThread& thread, const uint64_t args[6]) {
  // The fourth argument is a number for SETVAL, ignored by some commands, and else memory of at most the size of
  // a semid_ds or one unsigned short a semaphore (SEMMSL is at most 65536).
  const int cmd = static_cast<int>(args[2]) & ~kPrivateIpc64;
  const bool number = cmd == SETVAL || cmd == GETVAL || cmd == GETPID || cmd == GETNCNT || cmd == GETZCNT ||
                      cmd == IPC_RMID;
  return forward(thread, SYS_semctl, args[0], args[1], args[2], number ? args[3] : safe_pointer(args[3]));
}

// --- events ----------------------------------------------------------------------------------------------------------

namespace {

/// sigevent as the kernel lays it out: 64 bytes, value, signo, notify, tid.
struct Event {
  uint64_t value;
  int32_t signo, notify, tid;
  char rest[44];
};
static_assert(sizeof(Event) == 64);

}  // namespace

int64_t sys_timer_create(GuestThread& thread, const uint64_t args[6]) {
  Event event;
  if (args[1] == 0) return forward_syscall(thread, SYS_timer_create, args);
  if (int error = copy_from_guest(&event, args[1], sizeof(event)); error != 0) return error;
  return forward(thread, SYS_timer_create, args[0], word(&event), args[2]);
}

int64_t sys_mq_notify(GuestThread& thread, const uint64_t args[6]) {
  Event event;
  if (args[1] == 0) return forward_syscall(thread, SYS_mq_notify, args);
  if (int error = copy_from_guest(&event, args[1], sizeof(event)); error != 0) return error;
  if (event.notify == SIGEV_THREAD) {
    // The value is the address of a 32-byte cookie, the number a netlink socket (mq_notify(3), glibc).
    event.value = safe_pointer(event.value);
    if (is_private_fd(event.signo)) return -EBADF;
  }
  return forward(thread, SYS_mq_notify, args[0], word(&event));
}

// --- futexes ---------------------------------------------------------------------------------------------------------

int64_t sys_futex(GuestThread& thread, const uint64_t args[6]) {
  // The fourth argument is a timeout for the waiting operations, a count for the others.
  uint64_t timeout = args[3];
  switch (static_cast<int>(args[1]) & FUTEX_CMD_MASK) {
    case FUTEX_WAIT: case FUTEX_WAIT_BITSET: case FUTEX_LOCK_PI: case FUTEX_LOCK_PI2: case FUTEX_WAIT_REQUEUE_PI:
      timeout = safe_pointer(timeout);
      break;
    default:
      break;
  }
  return forward(thread, SYS_futex, args[0], args[1], args[2], timeout, args[4], args[5]);
}

namespace {

struct Waiter {  // struct futex_waitv, linux/futex.h
  uint64_t value, address;
  uint32_t flags, reserved;
};
static_assert(sizeof(Waiter) == 24);

constexpr int64_t kFutexWaitv = 449, kFutexRequeue = 456;
constexpr uint32_t kMostWaiters = 128;  // FUTEX_WAITV_MAX

/// Address for the host's kernel: a checked copy of `count` waiters, 0 for 0, else nowhere. Whether the rest is right, and
/// whether there is such a call at all, is the kernel's to say.
uint64_t load_waiters(GuestArray<Waiter, 8>* waiters, uint64_t addr, uint32_t count) {
  if (addr == 0) return 0;
  if (count > kMostWaiters || waiters->load(addr, count) != 0) return kNowhere;
  for (Waiter& waiter : *waiters) waiter.address = safe_pointer(waiter.address);
  return word(waiters->data());
}

}  // namespace

int64_t sys_futex_waitv(GuestThread& thread, const uint64_t args[6]) {
  const uint32_t count = static_cast<uint32_t>(args[1]);
  GuestArray<Waiter, 8> waiters;
  return forward(thread, kFutexWaitv, load_waiters(&waiters, args[0], count), count, args[2], args[3], args[4]);
}

int64_t sys_futex_requeue(GuestThread& thread, const uint64_t args[6]) {
  GuestArray<Waiter, 8> waiters;
  return forward(thread, kFutexRequeue, load_waiters(&waiters, args[0], 2), args[1], args[2], args[3]);
}

}  // namespace km
