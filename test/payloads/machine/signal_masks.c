// SPDX-License-Identifier: Apache-2.0
// Who gets a signal and when: masks, pending sets, nesting, queues, waiting for signals, signalfd, masks per thread.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "report.h"

static char order[256];
static int used, depth, max_depth, raised;

static void note(const char* text) {
  for (; *text && used < 255; text++) order[used++] = *text;
  order[used] = 0;
}

static void clear_notes(void) { order[used = 0] = 0; }

static sigset_t set_of(int a, int b, int c) {
  sigset_t set;
  sigemptyset(&set);
  if (a) sigaddset(&set, a);
  if (b) sigaddset(&set, b);
  if (c) sigaddset(&set, c);
  return set;
}

static void install(int signo, void (*handler)(int, siginfo_t*, void*), int flags, const sigset_t* mask) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
  if (mask) action.sa_mask = *mask;
  must(sigaction(signo, &action, NULL) == 0, "sigaction");
}

static void nesting(int signo, siginfo_t* si, void* context) {
  (void)si;
  (void)context;
  note(signo == SIGUSR1 ? "(1" : "(2");
  if (++depth > max_depth) max_depth = depth;
  if (!raised) {
    raised = 1;
    raise(SIGUSR2);
    raise(SIGUSR1);
    note(".");
  }
  depth--;
  note(")");
}

static void nested(const char* name, int flags, const sigset_t* mask) {
  install(SIGUSR1, nesting, flags, mask);
  install(SIGUSR2, nesting, 0, NULL);
  clear_notes();
  depth = max_depth = raised = 0;
  raise(SIGUSR1);
  show(name, "%s depth %d", order, max_depth);
}

static void reset_handler(int signo, siginfo_t* si, void* context) {
  (void)si;
  (void)context;
  struct sigaction now;
  sigaction(signo, NULL, &now);
  note(now.sa_handler == SIG_DFL ? "default inside" : "kept inside");
}

static void reset(void) {
  clear_notes();
  install(SIGUSR1, reset_handler, SA_RESETHAND, NULL);
  raise(SIGUSR1);
  struct sigaction now;
  sigaction(SIGUSR1, NULL, &now);
  show("SA_RESETHAND", "%s, afterwards default %d", order, now.sa_handler == SIG_DFL);
}

static void record(int signo, siginfo_t* si, void* context) {
  (void)context;
  char text[32];
  snprintf(text, sizeof text, " %d:%d", signo, si->si_code == SI_QUEUE ? si->si_value.sival_int : -1);
  note(text);
}

static void queues(void) {
  const int low = SIGRTMIN + 1, high = SIGRTMIN + 5;
  sigset_t blocked = set_of(SIGUSR1, low, high), pending, old;
  install(SIGUSR1, record, 0, &blocked);
  install(low, record, 0, &blocked);
  install(high, record, 0, &blocked);
  sigprocmask(SIG_BLOCK, &blocked, &old);
  for (int i = 0; i < 3; i++) {
    sigqueue(getpid(), high, (union sigval){.sival_int = i});
    sigqueue(getpid(), low, (union sigval){.sival_int = 10 + i});
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 20 + i});
  }
  for (int i = 0; i < 20; i++) sigqueue(getpid(), high, (union sigval){.sival_int = 100 + i});
  sigpending(&pending);
  show("pending", "USR1 %d low %d high %d USR2 %d", sigismember(&pending, SIGUSR1), sigismember(&pending, low), sigismember(&pending, high), sigismember(&pending, SIGUSR2));
  clear_notes();
  // Two at once: Linux builds the frames lowest number first, so the highest handler runs first.
  sigprocmask(SIG_SETMASK, &old, NULL);
  show("real-time signals are queued in order", "%s", order);
}

static void* sender(void* arg) {
  sleep_ms(50);
  kill(getpid(), (int)(intptr_t)arg);
  return NULL;
}

static pthread_t send_later(int signo) {
  pthread_t thread;
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  must(pthread_create(&thread, NULL, sender, (void*)(intptr_t)signo) == 0, "pthread_create");
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return thread;
}

static void waiting(void) {
  sigset_t one = set_of(SIGUSR1, 0, 0), none = set_of(0, 0, 0), now;
  install(SIGUSR1, record, 0, NULL);
  sigprocmask(SIG_BLOCK, &one, NULL);
  clear_notes();
  raise(SIGUSR1);
  result("sigsuspend, pending", sigsuspend(&none));
  pthread_t thread = send_later(SIGUSR1);
  result("sigsuspend, later", sigsuspend(&none));
  pthread_join(thread, NULL);
  sigprocmask(SIG_SETMASK, NULL, &now);
  show("handlers ran", "%s, mask kept %d", order, sigismember(&now, SIGUSR1));
  siginfo_t info;
  struct timespec soon = {0, 20000000}, long_time = {20, 0}, zero = {0, 0};
  result("sigtimedwait, nothing", sigtimedwait(&one, &info, &soon));
  result("sigtimedwait, poll", sigtimedwait(&one, &info, &zero));
  sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 77});
  result("sigtimedwait, pending", sigtimedwait(&one, &info, &long_time));
  show("its info", "code %d value %d", info.si_code, info.si_value.sival_int);
  thread = send_later(SIGUSR1);
  result("sigwaitinfo, later", sigwaitinfo(&one, &info));
  show("its info", "code %d own pid %d", info.si_code, info.si_pid == getpid());
  pthread_join(thread, NULL);
  install(SIGUSR2, record, 0, NULL);
  thread = send_later(SIGUSR2);
  result("sigtimedwait, another signal", sigtimedwait(&one, &info, &long_time));
  pthread_join(thread, NULL);
  thread = send_later(SIGUSR2);
  result("pause", pause());
  pthread_join(thread, NULL);
  sigprocmask(SIG_UNBLOCK, &one, NULL);
}

static void descriptors(void) {
  sigset_t two = set_of(SIGUSR1, SIGUSR2, 0), only = set_of(SIGUSR2, 0, 0);
  sigprocmask(SIG_BLOCK, &two, NULL);
  const int fd = signalfd(-1, &two, SFD_NONBLOCK | SFD_CLOEXEC);
  succeeds("signalfd", fd);
  struct signalfd_siginfo got[4];
  result("read, nothing", read(fd, got, sizeof got));
  raise(SIGUSR2);
  sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 5});
  const long n = read(fd, got, sizeof got);
  show("read", "%ld: %u %u, value %d, own pid %d", n / (long)sizeof got[0], got[0].ssi_signo, got[1].ssi_signo, got[0].ssi_signo == SIGUSR1 ? got[0].ssi_int : got[1].ssi_int, got[1].ssi_pid == (uint32_t)getpid());
  result("change the set", signalfd(fd, &only, 0) == fd ? 0 : -1);
  raise(SIGUSR1);
  result("read, not in the set", read(fd, got, sizeof got));
  siginfo_t info;
  result("it is still pending", sigwaitinfo(&two, &info));
  close(fd);
  sigprocmask(SIG_UNBLOCK, &two, NULL);
}

static atomic_int ready, leave;
static _Atomic pid_t taken_by;

static void who(int signo, siginfo_t* si, void* context) {
  (void)signo;
  (void)si;
  (void)context;
  atomic_store(&taken_by, gettid());
}

static void* listener(void* arg) {
  pid_t* tid = arg;
  sigset_t one = set_of(SIGUSR1, 0, 0), now;
  pthread_sigmask(SIG_SETMASK, NULL, &now);
  note(sigismember(&now, SIGUSR1) ? "inherited " : "not inherited ");
  pthread_sigmask(SIG_UNBLOCK, &one, NULL);
  *tid = gettid();
  atomic_store(&ready, 1);
  while (!atomic_load(&leave)) sleep_ms(1);
  return NULL;
}

static void await_taken(pid_t expected, const char* what) {
  for (int i = 0; i < 5000 && atomic_load(&taken_by) == 0; i++) sleep_ms(1);
  check(atomic_load(&taken_by) == expected, what);
  atomic_store(&taken_by, 0);
}

static void threads(void) {
  sigset_t one = set_of(SIGUSR1, 0, 0), pending;
  install(SIGUSR1, who, SA_RESTART, NULL);
  pthread_sigmask(SIG_BLOCK, &one, NULL);
  clear_notes();
  pid_t tid = 0;
  pthread_t thread;
  must(pthread_create(&thread, NULL, listener, &tid) == 0, "pthread_create");
  while (!atomic_load(&ready)) sched_yield();
  show("a new thread's mask", "%s", order);
  kill(getpid(), SIGUSR1);
  await_taken(tid, "the thread that does not block it takes a process's signal");
  pthread_kill(thread, SIGUSR1);
  await_taken(tid, "pthread_kill reaches that thread");
  syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1);
  sleep_ms(30);
  sigpending(&pending);
  show("a thread's own signal waits for it", "pending %d, taken %d", sigismember(&pending, SIGUSR1), atomic_load(&taken_by) != 0);
  atomic_store(&leave, 1);
  pthread_join(thread, NULL);
  pthread_sigmask(SIG_UNBLOCK, &one, NULL);
  await_taken(gettid(), "and is delivered when it is unblocked");
  result("tgkill, wrong process", syscall(SYS_tgkill, 1, gettid(), 0));
  result("tgkill, bad signal", syscall(SYS_tgkill, getpid(), gettid(), 65));
  result("kill, signal 0", kill(getpid(), 0));
}

// A fault cannot be blocked: the process dies of it.
static void blocked_fault(void) {
  const pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    sigset_t one = set_of(SIGSEGV, 0, 0);
    install(SIGSEGV, record, 0, NULL);
    sigprocmask(SIG_BLOCK, &one, NULL);
    volatile char* nowhere = (char*)16;
    __asm__("" : "+r"(nowhere));
    *nowhere = 1;
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  show("a blocked fault", "signalled %d by %d", WIFSIGNALED(status), WTERMSIG(status));
}

static void limits(void) {
  struct sigaction action = {.sa_handler = SIG_IGN};
  result("ignore SIGKILL", sigaction(SIGKILL, &action, NULL));
  result("ignore SIGSTOP", sigaction(SIGSTOP, &action, NULL));
  result("signal 0", sigaction(0, &action, NULL));
  result("signal 65", sigaction(65, &action, NULL));
  sigset_t all, now;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  sigprocmask(SIG_SETMASK, NULL, &now);
  show("cannot be blocked", "KILL %d STOP %d", sigismember(&now, SIGKILL), sigismember(&now, SIGSTOP));
  sigemptyset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  result("bad how", sigprocmask(99, &all, NULL));
}

int main(void) {
  const sigset_t second = set_of(SIGUSR2, 0, 0);
  nested("blocked while it runs", 0, NULL);
  nested("sa_mask", 0, &second);
  nested("SA_NODEFER", SA_NODEFER, NULL);
  nested("SA_NODEFER and sa_mask", SA_NODEFER, &second);
  reset();
  queues();
  waiting();
  descriptors();
  threads();
  blocked_fault();
  limits();
  return finish();
}
