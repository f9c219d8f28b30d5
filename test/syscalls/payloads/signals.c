// SPDX-License-Identifier: Apache-2.0
// Sending, blocking and taking signals.
#include <time.h>
#include <ucontext.h>

#include "say.h"

static volatile int seen;
static void take(int signo) { seen = signo; }

static void taking(void) {
  struct sigaction action = {.sa_handler = take};
  sigaction(SIGUSR1, &action, NULL);  // rt_sigaction, rt_sigreturn
  struct { void *handler; unsigned long flags; void *restorer; uint64_t mask; } raw;
  DO(rt_sigaction, SIGUSR1, NULL, &raw, 8);
  line("handler %d", raw.handler == (void *)take);
  DO(rt_sigaction, SIGKILL, &raw, NULL, 8);
  DO(rt_sigaction, SIGUSR1, NULL, &raw, 4);
  DO(kill, getpid(), SIGUSR1);
  line("seen %d", seen);
  seen = 0;
  DO(tkill, gettid(), SIGUSR1);
  line("seen %d", seen);
  seen = 0;
  DO(tgkill, getpid(), gettid(), SIGUSR1);
  line("seen %d", seen);
  DO(tgkill, getpid(), 999999999, SIGUSR1);
  DO(kill, getpid(), 99);
  DO(kill, getpid(), 0);
}

static void blocking(void) {
  uint64_t usr1 = 1u << (SIGUSR1 - 1), old = 99, pending = 0;
  DO(rt_sigprocmask, SIG_BLOCK, &usr1, &old, 8);
  line("old %d", (int)old);
  seen = 0;
  kill(getpid(), SIGUSR1);
  DO(rt_sigpending, &pending, 8);
  line("pending %x", (unsigned)pending);
  uint64_t none = 0;
  DO(rt_sigsuspend, &none, 8);
  line("seen %d", seen);
  siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
  info.si_value.sival_int = 77;
  DO(rt_sigqueueinfo, getpid(), SIGUSR1, &info);
  siginfo_t got = {0};
  struct timespec soon = {1, 0};
  DO(rt_sigtimedwait, &usr1, &got, &soon, 8);
  line("value %d code %d", got.si_value.sival_int, got.si_code);
  DO(rt_tgsigqueueinfo, getpid(), gettid(), SIGUSR1, &info);
  DO(rt_sigtimedwait, &usr1, &got, &soon, 8);
  soon.tv_sec = 0;
  DO(rt_sigtimedwait, &usr1, &got, &soon, 8);
  DO(rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
  DO(rt_sigprocmask, 77, &none, NULL, 8);
  DO(rt_sigprocmask, SIG_BLOCK, (void *)8, NULL, 8);
}

static void stacks(void) {
  static char stack[32768];
  stack_t set = {.ss_sp = stack, .ss_size = sizeof stack}, old;
  DO(sigaltstack, &set, &old);
  line("before %d", old.ss_flags);
  set.ss_size = 10;
  DO(sigaltstack, &set, NULL);
  DO(sigaltstack, NULL, &old);
  line("size %zu", old.ss_size);
}

static void pausing(void) {
  struct sigaction action = {.sa_handler = take};
  sigaction(SIGALRM, &action, NULL);
  seen = 0;
  DO(alarm, 1);
  DO(pause);
  line("seen %d", seen);
  DO(alarm, 0);
}

int main(void) {
  taking();
  blocking();
  stacks();
  pausing();
  return 0;
}
