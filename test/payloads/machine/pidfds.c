// SPDX-License-Identifier: Apache-2.0
// Processes by descriptor: pidfd_open, CLONE_PIDFD, poll and epoll on them, waitid(P_PIDFD), pidfd_send_signal with and
// without information; then futex_waitv, epoll_pwait2 and close_range as programs use them.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "report.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static int pidfd_open_(pid_t pid, unsigned flags) { return (int)syscall(SYS_pidfd_open, pid, flags); }
static long send_signal(int fd, int signo, siginfo_t* info, unsigned flags) {
  return syscall(SYS_pidfd_send_signal, fd, signo, info, flags);
}

static volatile sig_atomic_t seen_value, seen_code;
static void on_signal(int signo, siginfo_t* info, void* context) {
  (void)signo, (void)context;
  seen_value = info->si_value.sival_int;
  seen_code = info->si_code;
}

static pid_t sleeper(void) {
  const pid_t child = fork();
  if (child == 0)
    for (;;) pause();
  return child;
}

static void open_and_wait(void) {
  const pid_t child = sleeper();
  const int fd = pidfd_open_(child, 0);
  siginfo_t info = {0};
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  check(fd >= 0, "pidfd_open");
  show("close-on-exec", "%d", fcntl(fd, F_GETFD));
  result("it lives: poll", poll(&ready, 1, 0));
  result("it lives: waitid", waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG));
  show("nobody", "%d", info.si_pid);
  result("signal 0", send_signal(fd, 0, NULL, 0));
  result("a flag that is none", send_signal(fd, 0, NULL, 0x80));
  result("a signal that is none", send_signal(fd, 99, NULL, 0));
  result("SIGKILL", send_signal(fd, SIGKILL, NULL, 0));
  result("poll", poll(&ready, 1, 60000));
  show("events", "%x", ready.revents);
  result("a look", waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOWAIT));
  check(info.si_pid == child, "it is the child");
  show("ended by", "code %d status %d", info.si_code, info.si_status);
  result("waitid", waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
  result("again", waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
  result("a signal to what is gone", send_signal(fd, 0, NULL, 0));
  result("still readable", poll(&ready, 1, 0));
  close(fd);
  result("pidfd_open of what is gone", pidfd_open_(child, 0));
  result("of 0", pidfd_open_(0, 0));
  result("of -1", pidfd_open_(-1, 0));
  result("a flag that is none", pidfd_open_(getpid(), 0x100));
  result("waitid of another descriptor", waitid(P_PIDFD, 1, &info, WEXITED));
  result("waitid of a closed one", waitid(P_PIDFD, 999, &info, WEXITED));
  const int nonblocking = pidfd_open_(getpid(), O_NONBLOCK);
  result("non-blocking", fcntl(nonblocking, F_GETFL) & O_NONBLOCK);
  result("waitid of oneself", waitid(P_PIDFD, (id_t)nonblocking, &info, WEXITED));
  close(nonblocking);
}

static void by_clone(void) {
  int fd = -1, epoll = epoll_create1(EPOLL_CLOEXEC);
  const pid_t child = (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, &fd, NULL, NULL);
  if (child == 0) _exit(42);
  must(child > 0, "clone");
  check(fd >= 0, "CLONE_PIDFD");
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 77}, got = {0};
  result("EPOLL_CTL_ADD", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
  struct timespec minute = {60, 0};
  result("epoll_pwait2", syscall(SYS_epoll_pwait2, epoll, &got, 1, &minute, NULL, 8));
  show("data", "%d", (int)got.data.u64);
  siginfo_t info = {0};
  result("waitid", waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
  show("status", "%d", info.si_status);
  close(fd);
  close(epoll);
}

static void with_information(void) {
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
  sigaction(SIGUSR2, &action, NULL);
  const int self = pidfd_open_(getpid(), 0);
  siginfo_t info = {0};
  info.si_signo = SIGUSR2;
  info.si_code = SI_QUEUE;
  info.si_value.sival_int = 1234;
  result("with information", send_signal(self, SIGUSR2, &info, 0));
  show("came", "value %d code %d", (int)seen_value, (int)seen_code);
  info.si_code = SI_USER;
  result("to oneself as if by kill", send_signal(self, SIGUSR2, &info, 0));
  info.si_signo = SIGUSR1;
  result("of another signal", send_signal(self, SIGUSR2, &info, 0));
  result("from nowhere", send_signal(self, SIGUSR2, (siginfo_t*)8, 0));
  const pid_t child = sleeper();
  const int other = pidfd_open_(child, 0);
  info.si_signo = SIGUSR2;
  result("to another as if by kill", send_signal(other, SIGUSR2, &info, 0));
  send_signal(other, SIGKILL, NULL, 0);
  waitpid(child, NULL, 0);
  close(other);
  close(self);
}

static uint32_t words[3];
static int is_over;  // also where the kernel has no such call

static void* wakes(void* unused) {
  sleep_ms(20);
  __atomic_store_n(&words[2], 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i < 20000; i++) {
    if (syscall(SYS_futex, &words[2], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) != 0) break;
    if (__atomic_load_n(&is_over, __ATOMIC_SEQ_CST)) break;
    sleep_ms(1);
  }
  return unused;
}

static long wait_many(struct futex_waitv* waiters, unsigned count, unsigned flags, const struct timespec* until) {
  return syscall(SYS_futex_waitv, waiters, count, flags, until, CLOCK_MONOTONIC);
}

static void many_futexes(void) {
  struct futex_waitv waiters[129];
  memset(waiters, 0, sizeof waiters);
  for (int i = 0; i < 129; i++) waiters[i] = (struct futex_waitv){0, (uintptr_t)&words[i % 3], FUTEX_32 | FUTEX_PRIVATE_FLAG, 0};
  pthread_t thread;
  pthread_create(&thread, NULL, wakes, NULL);
  result("futex_waitv: the third wakes it", wait_many(waiters, 3, 0, NULL));
  __atomic_store_n(&is_over, 1, __ATOMIC_SEQ_CST);
  pthread_join(thread, NULL);
  result("a value that is another", wait_many(waiters, 3, 0, NULL));
  words[2] = 0;
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += 20000000;
  if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
  result("time runs out", wait_many(waiters, 3, 0, &until));
  result("128 of them, time is out", wait_many(waiters, 128, 0, &until));
  result("129", wait_many(waiters, 129, 0, &until));
  result("flags", wait_many(waiters, 3, 1, &until));
  waiters[1].uaddr += 2;
  result("a misaligned one", wait_many(waiters, 3, 0, &until));
  waiters[1] = (struct futex_waitv){0, 8, FUTEX_32 | FUTEX_PRIVATE_FLAG, 0};
  result("one that is not there", wait_many(waiters, 3, 0, &until));
  waiters[1] = (struct futex_waitv){0, (uintptr_t)words, 7u << 16, 0};
  result("unknown flags of one", wait_many(waiters, 3, 0, &until));
  waiters[1].flags = FUTEX_32, waiters[1].__reserved = 1;
  result("its reserved word", wait_many(waiters, 3, 0, &until));
}

static void ignored(int signo) { (void)signo; }

static void precise_epoll(void) {
  const int epoll = epoll_create1(0);
  struct epoll_event got;
  struct timespec none = {0, 0}, little = {0, 2000000}, bad = {0, 1000000000};
  sigset_t blocked, open_set;
  sigaction(SIGUSR1, &(struct sigaction){.sa_handler = ignored}, NULL);
  sigemptyset(&open_set);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  result("epoll_pwait2: at once", syscall(SYS_epoll_pwait2, epoll, &got, 1, &none, NULL, 8));
  const long before = now_ms();
  const long waited = result("2 ms", syscall(SYS_epoll_pwait2, epoll, &got, 1, &little, NULL, 8));
  check(waited != 0 || now_ms() - before >= 1, "they passed");  // before Linux 5.11 there is no such call
  result("a time that is none", syscall(SYS_epoll_pwait2, epoll, &got, 1, &bad, NULL, 8));
  result("a time from nowhere", syscall(SYS_epoll_pwait2, epoll, &got, 1, (void*)8, NULL, 8));
  result("no room", syscall(SYS_epoll_pwait2, epoll, &got, 0, &none, NULL, 8));
  result("a mask of another size", syscall(SYS_epoll_pwait2, epoll, &got, 1, &none, &open_set, 4));
  raise(SIGUSR1);
  result("a mask that lets a signal in", syscall(SYS_epoll_pwait2, epoll, &got, 1, NULL, &open_set, 8));
  sigprocmask(SIG_SETMASK, NULL, &open_set);
  check(sigismember(&open_set, SIGUSR1), "the mask is back");
  sigprocmask(SIG_UNBLOCK, &blocked, NULL);
  close(epoll);
}

static void* closes_its_own(void* unused) {
  // A table of its own first: what it closes stays open for the other thread.
  const long done = syscall(SYS_close_range, 700, 800, CLOSE_RANGE_UNSHARE);
  return done == 0 && fcntl(701, F_GETFD) < 0 ? (void*)1 : unused;
}

static void ranges(void) {
  for (int fd = 700; fd < 704; fd++) must(dup2(1, fd) == fd, "dup2");
  result("for exec", syscall(SYS_close_range, 701, 702, CLOSE_RANGE_CLOEXEC));
  show("flags", "%d %d %d %d", fcntl(700, F_GETFD), fcntl(701, F_GETFD), fcntl(702, F_GETFD), fcntl(703, F_GETFD));
  result("for exec, in a table of its own", syscall(SYS_close_range, 703, ~0u, CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE));
  show("flag", "%d", fcntl(703, F_GETFD));
  pthread_t thread;
  void* good = NULL;
  must(pthread_create(&thread, NULL, closes_its_own, NULL) == 0, "thread");
  pthread_join(thread, &good);
  check(good != NULL, "a thread closed them");
  show("here they are open", "%d %d", fcntl(700, F_GETFD), fcntl(703, F_GETFD));
  result("wrong order", syscall(SYS_close_range, 703, 700, 0));
  result("an unknown flag", syscall(SYS_close_range, 700, 703, 8));
  result("all to the last number", syscall(SYS_close_range, 700, ~0u, 0));
  show("closed", "%d", fcntl(700, F_GETFD));
}

int main(void) {
  open_and_wait();
  by_clone();
  with_information();
  many_futexes();
  precise_epoll();
  ranges();
  return finish();
}
