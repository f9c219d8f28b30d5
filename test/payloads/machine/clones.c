// SPDX-License-Identifier: Apache-2.0
// What a new process inherits and what it does not, and the flags of clone and clone3 (man 2 fork, clone, pidfd_open).
#define _GNU_SOURCE
#include <fcntl.h>
#include <fenv.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <xmmintrin.h>

#include "report.h"

static int reap(pid_t child, int flags) {
  int status = -1;
  pid_t got;
  do {
    got = waitpid(child, &status, flags);
  } while (got < 0 && errno == EINTR);
  if (got != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static long raw_clone(unsigned long flags, void* parent_tid, void* child_tid) {
  return syscall(SYS_clone, flags, NULL, parent_tid, child_tid, 0);
}

static struct {
  atomic_int tid, go, seen;
} * shared;

static atomic_int signals_seen;
static void count(int signo) {
  (void)signo;
  signals_seen++;
}

static void floating_point(void) {
  fesetround(FE_UPWARD);
  _mm_setcsr(_mm_getcsr() | 0x8000);  // flush to zero: set by no libc
  const unsigned csr = _mm_getcsr();
  const pid_t child = fork();
  if (child == 0) _exit((fegetround() == FE_UPWARD) + 2 * (_mm_getcsr() == csr));
  result("rounding and mxcsr over fork", reap(child, 0));
  const pid_t grand = vfork();
  if (grand == 0) _exit((fegetround() == FE_UPWARD) + 2 * (_mm_getcsr() == csr));
  result("rounding and mxcsr over vfork", reap(grand, 0));
  fesetround(FE_TONEAREST);
  _mm_setcsr(0x1f80);
}

static void signal_state(void) {
  static char stack[65536];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternate, NULL);
  signal(SIGUSR1, count);
  signal(SIGALRM, count);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  raise(SIGUSR1);
  struct itimerval soon = {.it_value = {.tv_sec = 3600}};
  setitimer(ITIMER_REAL, &soon, NULL);
  timer_t timer;
  must(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0, "timer_create");
  const pid_t child = fork();
  if (child == 0) {
    sigset_t pending, mask;
    sigpending(&pending);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    stack_t now;
    sigaltstack(NULL, &now);
    struct itimerval left;
    getitimer(ITIMER_REAL, &left);
    struct itimerspec of;
    printf("  pending %d, blocked %d, altstack %d, itimer %ld, ", sigismember(&pending, SIGUSR1), sigismember(&mask, SIGUSR1),
           now.ss_sp == stack, (long)left.it_value.tv_sec);
    printf("timer %s\n", timer_gettime(timer, &of) == 0 ? "there" : strerrorname_np(errno));
    _exit(0);
  }
  reap(child, 0);
  struct itimerval none = {0};
  setitimer(ITIMER_REAL, &none, &soon);
  check(soon.it_value.tv_sec > 3000, "the parent's timer went on");
  timer_delete(timer);
  sigprocmask(SIG_UNBLOCK, &blocked, NULL);
  show("the parent's own signal", "%d", (int)signals_seen);
  alternate.ss_flags = SS_DISABLE;
  sigaltstack(&alternate, NULL);
}

static void identities(void) {
  const pid_t me = getpid(), group = getpgrp(), session = getsid(0);
  const pid_t child = fork();
  if (child == 0) {
    const int same = getppid() == me && getpgrp() == group && getsid(0) == session && getpid() != me && gettid() == getpid();
    _exit(same);
  }
  result("parent, group and session of a child", reap(child, 0));
  const pid_t leader = fork();
  if (leader == 0) {
    const pid_t fresh = setsid();
    _exit((fresh == getpid()) + 2 * (getpgrp() == getpid()) + 4 * (setsid() == -1 && errno == EPERM));
  }
  result("setsid", reap(leader, 0));
}

// CLONE_CHILD_CLEARTID is kept only where somebody else is left in the child's memory (kernel/fork.c: mm_release).
static void tids(void) {
  pid_t parent_tid = 0;
  shared->tid = -1;
  const unsigned long flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
  const pid_t child = (pid_t)raw_clone(flags, &parent_tid, &shared->tid);
  if (child == 0) {
    shared->seen = shared->tid == getpid();
    while (!shared->go) sched_yield();
    _exit(5);
  }
  check(parent_tid == child, "CLONE_PARENT_SETTID");
  while (shared->tid == -1) sched_yield();
  check(shared->tid == child, "CLONE_CHILD_SETTID");
  shared->go = 1;
  result("its status", reap(child, 0));
  check(shared->tid == child, "nothing cleared in memory of its own");
  check(shared->seen == 1, "the child saw its own tid");
}

static void exit_signals(void) {
  signals_seen = 0;
  signal(SIGUSR2, count);
  pid_t child = (pid_t)raw_clone(SIGUSR2, NULL, NULL);
  if (child == 0) _exit(6);
  result("wait without __WALL for a clone child", waitpid(child, NULL, WNOHANG));
  result("with __WCLONE", reap(child, __WCLONE));
  show("exit signal USR2", "%d", (int)signals_seen);
  child = (pid_t)raw_clone(0, NULL, NULL);
  if (child == 0) _exit(7);
  result("no exit signal, __WALL", reap(child, __WALL));
}

static void sharing(void) {
  must(chdir("/") == 0, "chdir");
  pid_t child = (pid_t)raw_clone(CLONE_FS | SIGCHLD, NULL, NULL);
  if (child == 0) _exit(chdir("/usr") == 0 && umask(0077) != 0077 ? 8 : 1);
  result("CLONE_FS", reap(child, 0));
  char where[100];
  show("the child's directory is ours", "%s", getcwd(where, sizeof where));
  const mode_t mask = umask(022);
  show("and its umask", "%03o", (unsigned)mask);
  const pid_t me = getpid();
  const pid_t outer = fork();
  if (outer == 0) {
    const pid_t sibling = (pid_t)raw_clone(CLONE_PARENT | SIGCHLD, NULL, NULL);
    if (sibling == 0) _exit(getppid() == me ? 10 : 1);
    _exit(waitpid(sibling, NULL, 0) == -1 && errno == ECHILD ? 11 : 2);
  }
  result("the middle one", reap(outer, 0));
  int status = 0;
  wait(&status);
  show("CLONE_PARENT", "%d", WEXITSTATUS(status));
}

static long clone3(struct clone_args* args, size_t size) { return syscall(SYS_clone3, args, size); }

// By hand: the child must not return from the function that its parent will return from.
static pid_t vfork3(struct clone_args* args, const int* fd) {
  long pid;
  __asm__ volatile("syscall" : "=a"(pid) : "0"(SYS_clone3), "D"(args), "S"(sizeof *args) : "rcx", "r11", "memory");
  if (pid == 0) {
    struct sigaction usr2;
    sigaction(SIGUSR2, NULL, &usr2);
    const int cleared = usr2.sa_handler == SIG_DFL;
    _exit((shared->tid == (int)syscall(SYS_getpid)) + 2 * (*fd >= 0 && dup2(*fd, 78) == 78) + 4 * cleared);
  }
  return (pid_t)pid;
}

static void pidfds(void) {
  int fd = -1;
  struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&fd, .exit_signal = SIGCHLD};
  pid_t child = (pid_t)clone3(&args, sizeof args);
  if (child == 0) {
    for (;;) pause();
  }
  check(child > 0 && fd >= 0, "clone3 with CLONE_PIDFD");
  show("close on exec", "%d", fcntl(fd, F_GETFD));
  struct pollfd poller = {.fd = fd, .events = POLLIN};
  result("poll of a running child", poll(&poller, 1, 0));
  result("pidfd_send_signal", syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0));
  result("poll until its end", poll(&poller, 1, 60000));
  siginfo_t info = {0};
  result("waitid(P_PIDFD)", waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
  show("killed by", "%d, code %d", info.si_status, info.si_code);
  close(fd);

  fd = -1;
  child = (pid_t)raw_clone(CLONE_PIDFD | SIGCHLD, &fd, NULL);
  if (child == 0) _exit(12);
  check(fd >= 0, "clone with CLONE_PIDFD");
  result("waitid", waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
  show("status", "%d", info.si_status);
  result("pidfd_send_signal to the dead", syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
  close(fd);

  fd = -1;
  args = (struct clone_args){.flags = CLONE_PIDFD | CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_CLEAR_SIGHAND | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
                             .pidfd = (uintptr_t)&fd,
                             .child_tid = (uintptr_t)&shared->tid,
                             .exit_signal = SIGCHLD};
  shared->tid = -1;
  signal(SIGUSR2, count);
  child = vfork3(&args, &fd);
  check(fd >= 0, "vfork with CLONE_PIDFD");
  result("its status", reap(child, 0));
  show("its tid, cleared", "%d", (int)shared->tid);
  result("a descriptor it made", fcntl(78, F_GETFD));
  close(78);
  struct sigaction usr2;
  sigaction(SIGUSR2, NULL, &usr2);
  check(usr2.sa_handler == count, "the parent's handlers are still there");
  close(fd);
  fd = -1;
  const pid_t other = fork();
  if (other == 0) _exit(0);
  check((fd = (int)syscall(SYS_pidfd_open, other, 0)) >= 0, "pidfd_open");
  reap(other, 0);
  close(fd);
}

static void wrong(void) {
  struct clone_args args = {.exit_signal = SIGCHLD};
  result("clone3 of 8 bytes", clone3(&args, 8));
  args.flags = CLONE_THREAD;
  result("a thread without memory", clone3(&args, sizeof args));
  args.flags = CLONE_SIGHAND;
  result("handlers without memory", clone3(&args, sizeof args));
  args.flags = 0;
  args.exit_signal = 200;
  result("exit signal 200", clone3(&args, sizeof args));
  args.exit_signal = SIGCHLD;
  args.stack_size = 4096;
  result("a stack's size without a stack", clone3(&args, sizeof args));
  result("a bad pointer", syscall(SYS_clone3, 16, sizeof args));
  result("CLONE_FS with CLONE_NEWNS", raw_clone(CLONE_FS | CLONE_NEWNS | SIGCHLD, NULL, NULL));
  args = (struct clone_args){.flags = CLONE_PIDFD, .pidfd = 16, .exit_signal = SIGCHLD};
  const long child = clone3(&args, sizeof args);
  if (child == 0) _exit(0);
  result("a pidfd to nowhere", child);
}

static void arrangements(void) {
  // A subreaper inherits orphans; PR_SET_PDEATHSIG ends with the parent; SIGCHLD ignored leaves no zombie.
  result("PR_SET_CHILD_SUBREAPER", prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
  const pid_t middle = fork();
  if (middle == 0) {
    const pid_t orphan = fork();
    if (orphan == 0) {
      while (getppid() != getpgrp() && getppid() == shared->seen) sched_yield();
      _exit(14);
    }
    shared->seen = getpid();
    _exit(15);
  }
  result("middle", reap(middle, 0));
  int status = 0;
  check(wait(&status) > 0, "the orphan came to us");
  show("with", "%d", WEXITSTATUS(status));
  prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);

  signal(SIGCHLD, SIG_IGN);
  const pid_t unheard = fork();
  if (unheard == 0) _exit(0);
  result("wait while SIGCHLD is ignored", wait(NULL));
  signal(SIGCHLD, SIG_DFL);

  int ends[2];
  must(pipe(ends) == 0, "pipe");
  const pid_t parent = fork();
  if (parent == 0) {
    const pid_t child = fork();
    if (child == 0) {
      close(ends[0]);
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (write(ends[1], "x", 1) != 1) _exit(1);
      for (;;) pause();
    }
    char byte;
    _exit(read(ends[0], &byte, 1) == 1 ? 16 : 1);
  }
  close(ends[1]);
  result("parent", reap(parent, 0));
  char byte;
  result("the child's end of the pipe closes", read(ends[0], &byte, 1));
  close(ends[0]);
}

static void vectors(void) {
  // A child's copy of memory and registers is its own.
  static volatile int value = 1;
  int* common = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  char* forgotten = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* wiped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(common != MAP_FAILED && forgotten != MAP_FAILED && wiped != MAP_FAILED, "mmap");
  wiped[0] = 1;
  succeeds("MADV_DONTFORK", madvise(forgotten, 4096, MADV_DONTFORK));
  succeeds("MADV_WIPEONFORK", madvise(wiped, 4096, MADV_WIPEONFORK));
  const pid_t child = fork();
  if (child == 0) {
    value = 2;
    *common = 3;
    unsigned char in_core;
    const int gone = mincore(forgotten, 4096, &in_core) == -1 && errno == ENOMEM;
    _exit(gone + 2 * (wiped[0] == 0));
  }
  result("not forked, wiped", reap(child, 0));
  show("private, shared, kept", "%d %d %d", value, *common, wiped[0]);
}

int main(void) {
  shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  must(shared != MAP_FAILED, "mmap");
  floating_point();
  signal_state();
  identities();
  tids();
  exit_signals();
  sharing();
  pidfds();
  wrong();
  arrangements();
  vectors();
  return finish();
}
