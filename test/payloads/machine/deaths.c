// SPDX-License-Identifier: Apache-2.0
// How processes end and how parents learn of it: exit codes, signals, stop and continue, SIGCHLD, wait variants.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "report.h"

static void describe(const char* what, int status) {
  if (WIFEXITED(status)) {
    show(what, "exited with %d", WEXITSTATUS(status));
  } else if (WIFSIGNALED(status)) {
    show(what, "killed by %s, core %d", sigabbrev_np(WTERMSIG(status)), WCOREDUMP(status));
  } else if (WIFSTOPPED(status)) {
    show(what, "stopped by %s", sigabbrev_np(WSTOPSIG(status)));
  } else if (WIFCONTINUED(status)) {
    show(what, "continued");
  }
}

static pid_t child_that(void (*act)(int), int argument) {
  fflush(stdout);
  const pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    act(argument);
    _exit(0);
  }
  return child;
}

static void ends(const char* what, void (*act)(int), int argument) {
  int status = -1;
  const pid_t child = child_that(act, argument);
  must(waitpid(child, &status, 0) == child, "waitpid");
  describe(what, status);
}

static void exit_with(int code) { exit(code); }
static void raw_exit(int code) { syscall(SYS_exit, code); }
static void raise_it(int signo) { raise(signo); }
static void abort_it(int unused) {
  (void)unused;
  abort();
}
static void ignore_and_raise(int signo) {
  signal(signo, SIG_IGN);
  raise(signo);
  _exit(5);
}
static void broken_pipe(int unused) {
  (void)unused;
  int fds[2];
  must(pipe(fds) == 0, "pipe");
  close(fds[0]);
  _exit(write(fds[1], "x", 1) == -1 ? 6 : 7);
}
static void* thread_sleeps(void* arg) {
  sleep(100);
  return arg;
}
static void exit_with_threads(int code) {
  pthread_t thread;
  for (int i = 0; i < 5; i++) pthread_create(&thread, NULL, thread_sleeps, NULL);
  exit(code);
}
static void* thread_exits(void* arg) { exit((int)(intptr_t)arg); }
static void exit_from_thread(int code) {
  pthread_t thread;
  pthread_create(&thread, NULL, thread_exits, (void*)(intptr_t)code);
  for (;;) pause();
}
static void* outlives(void* arg) {
  sleep_ms(50);
  return arg;
}
// The process ends with its last thread; its status is the first one's.
static void main_leaves_first(int code) {
  pthread_t thread;
  pthread_create(&thread, NULL, outlives, NULL);
  syscall(SYS_exit, code);
}
static void* thread_faults(void* arg) {
  volatile char* nowhere = arg;
  *nowhere = 1;
  return NULL;
}
static void fault_in_thread(int address) {
  pthread_t thread;
  pthread_create(&thread, NULL, thread_faults, (void*)(intptr_t)address);
  for (;;) pause();
}
static void fault(int address) { thread_faults((void*)(intptr_t)address); }

static void fatal_signals(void) {
  static const int kDeadly[] = {SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2,
                                SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSYS};
  for (size_t i = 0; i < sizeof kDeadly / sizeof kDeadly[0]; i++) ends(sigabbrev_np(kDeadly[i]), raise_it, kDeadly[i]);
  ends("a real-time signal", raise_it, SIGRTMIN + 3);
  static const int kHarmless[] = {SIGCHLD, SIGCONT, SIGURG, SIGWINCH};
  for (size_t i = 0; i < sizeof kHarmless / sizeof kHarmless[0]; i++) ends(sigabbrev_np(kHarmless[i]), raise_it, kHarmless[i]);
}

static void spin(int unused) {
  (void)unused;
  for (volatile long i = 0;; i++) {
  }
}

static void stop_and_continue(void) {
  int status;
  const pid_t child = child_that(spin, 0);
  // A group of its own, so that it is not an orphaned one, in which SIGTSTP does nothing (setpgid(2)).
  must(setpgid(child, child) == 0, "setpgid");
  kill(child, SIGSTOP);
  must(waitpid(child, &status, WUNTRACED) == child, "waitpid");
  describe("SIGSTOP", status);
  kill(child, SIGCONT);
  must(waitpid(child, &status, WCONTINUED) == child, "waitpid");
  describe("SIGCONT", status);
  kill(child, SIGTSTP);
  must(waitpid(child, &status, WUNTRACED) == child, "waitpid");
  describe("SIGTSTP", status);
  kill(child, SIGTERM);
  kill(child, SIGCONT);
  must(waitpid(child, &status, 0) == child, "waitpid");
  describe("then SIGTERM", status);
}

static siginfo_t child_info;
static atomic_int child_signals;
static void on_child(int signo, siginfo_t* si, void* context) {
  (void)signo;
  (void)context;
  child_info = *si;
  atomic_fetch_add(&child_signals, 1);
}

static const char* child_code(int code) {
  static const char* const kNames[] = {"?", "exited", "killed", "dumped", "trapped", "stopped", "continued"};
  return code >= 1 && code <= 6 ? kNames[code] : kNames[0];
}

static void notified(const char* what, void (*act)(int), int argument, int flags) {
  struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART | flags};
  sigaction(SIGCHLD, &action, NULL);
  atomic_store(&child_signals, 0);
  const pid_t child = child_that(act, argument);
  for (int i = 0; i < 5000 && atomic_load(&child_signals) == 0; i++) sleep_ms(1);
  int status = 0;
  const long waited = waitpid(child, &status, 0);
  show(what, "%s, status %d, own child %d, uid %d, waitpid %s", child_code(child_info.si_code), child_info.si_status, child_info.si_pid == child,
       child_info.si_uid == getuid(), waited == child ? "done" : strerrorname_np(errno));
  signal(SIGCHLD, SIG_DFL);
}

static void wait_variants(void) {
  int status;
  siginfo_t info;
  result("wait without children", wait(&status));
  result("of any kind", waitpid(-1, &status, __WALL));
  result("of the other kind", waitpid(-1, &status, __WCLONE));
  result("waitid of any kind", waitid(P_ALL, 0, &info, WEXITED | __WALL));
  // A child that sends no signal when it ends is waited for in this way only.
  fflush(stdout);
  pid_t silent = (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);
  if (silent == 0) _exit(8);
  result("passed over", waitpid(-1, &status, 0));
  const pid_t found = waitpid(-1, &status, __WALL);
  show("found", "%d, status %d", found == silent, WEXITSTATUS(status));
  pid_t child = child_that(exit_with, 9);
  must(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0, "waitid");
  show("waitid without taking", "%s, status %d, signo %d", child_code(info.si_code), info.si_status, info.si_signo);
  struct rusage usage;
  const int taken = wait4(child, &status, 0, &usage) == child;
  show("wait4", "%d, status %d", taken, WEXITSTATUS(status));
  child = child_that(spin, 0);
  result("waitpid WNOHANG", waitpid(child, &status, WNOHANG));
  kill(child, SIGKILL);
  must(waitid(P_ALL, 0, &info, WEXITED) == 0, "waitid");
  show("waitid of any", "%s, status %d, own child %d", child_code(info.si_code), info.si_status, info.si_pid == child);
  check(usage.ru_maxrss >= 0, "usage of a child");
  result("bad options", waitpid(-1, &status, 0x7000));
  result("not a child", waitpid(1, &status, 0));
  const int fd = (int)syscall(SYS_pidfd_open, child = child_that(exit_with, 3), 0);
  if (fd >= 0) {
    must(waitid(P_PIDFD, (id_t)fd, &info, WEXITED) == 0, "waitid pidfd");
    close(fd);
  } else {
    waitpid(child, &status, 0);
    info.si_status = WEXITSTATUS(status);
  }
  show("by pidfd", "status %d", info.si_status);
}

static void many_children(void) {
  enum { kChildren = 20 };
  for (int i = 0; i < kChildren; i++) child_that(exit_with, i);
  int sum = 0, status;
  for (int i = 0; i < kChildren; i++) {
    must(wait(&status) > 0, "wait");
    sum += WEXITSTATUS(status);
  }
  show("twenty children", "%d", sum);
}

static void orphan(int fd) {
  const pid_t first = getpid();
  if (fork() != 0) _exit(0);
  for (int i = 0; i < 5000 && getppid() == first; i++) sleep_ms(1);
  const char adopted = getppid() != first ? 'y' : 'n';
  must(write(fd, &adopted, 1) == 1, "write");
}

static void orphans(void) {
  int fds[2];
  char byte = '?';
  must(pipe(fds) == 0, "pipe");
  const pid_t child = child_that(orphan, fds[1]);
  waitpid(child, NULL, 0);
  close(fds[1]);
  must(read(fds[0], &byte, 1) == 1, "read");
  show("an orphan gets a new parent", "%c", byte);
  close(fds[0]);
}

int main(void) {
  const struct rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  ends("exit 0", exit_with, 0);
  ends("exit 255", exit_with, 255);
  ends("exit 256", exit_with, 256);
  ends("exit -1", exit_with, -1);
  ends("exit of the only thread", raw_exit, 12);
  ends("exit with threads", exit_with_threads, 13);
  ends("exit from a thread", exit_from_thread, 14);
  ends("the main thread first", main_leaves_first, 15);
  ends("abort", abort_it, 0);
  ends("ignored signal", ignore_and_raise, SIGTERM);
  ends("SIGPIPE", broken_pipe, 0);
  ends("fault", fault, 16);
  ends("fault in a thread", fault_in_thread, 16);
  fatal_signals();
  stop_and_continue();
  notified("SIGCHLD, exit", exit_with, 4, 0);
  notified("SIGCHLD, kill", raise_it, SIGKILL, 0);
  notified("SIGCHLD, no zombie", exit_with, 5, SA_NOCLDWAIT);
  wait_variants();
  many_children();
  orphans();
  return finish();
}
