// SPDX-License-Identifier: Apache-2.0
// A vfork child shares its parent's memory, and with it what the monitor remembers; not its descriptors.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "report.h"

static int opens(const char* path) {
  const int fd = open(path, O_RDONLY);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

static volatile sig_atomic_t reset, handled;

static void handler(int signo) {
  (void)signo;
  handled++;
}

static int within_seconds(const volatile sig_atomic_t* flag) {
  for (int i = 0; i < 20000 && !*flag; i++) usleep(1000);
  return *flag != 0;
}

static void* sender(void* unused) {
  (void)unused;
  if (within_seconds(&reset)) pthread_kill(pthread_self(), SIGUSR1);
  return NULL;
}

/// What the child does to its dispositions is not done to the parent's, whose other threads go on.
static void dispositions(void) {
  pthread_t thread;
  signal(SIGUSR1, handler);
  must(pthread_create(&thread, NULL, sender, NULL) == 0, "pthread_create");
  const pid_t child = vfork();
  if (child == 0) {
    signal(SIGUSR1, SIG_DFL);
    reset = 1;
    _exit(within_seconds(&handled) ? 0 : 1);
  }
  int status = 0;
  must(waitpid(child, &status, 0) == child, "waitpid");
  pthread_join(thread, NULL);
  check(status == 0 && handled == 1, "a thread of the parent takes a signal that the child has set to default");
  raise(SIGUSR1);
  show("handled in the end", "%d", (int)handled);
}

/// Linux takes any alternate stack of 2 KiB, whatever the processor's registers need.
static void smallest_stack(void) {
  static char room[4096];
  stack_t stack = {.ss_sp = room, .ss_size = 2048};
  result("an alternate stack of 2048 bytes", sigaltstack(&stack, NULL));
  stack.ss_size = 2047;
  result("of 2047", sigaltstack(&stack, NULL));
}

int main(void) {
  // First of all: nothing of /proc was opened before.
  const pid_t child = vfork();
  if (child == 0) _exit(opens("/proc/self/fd"));
  int status = 0;
  must(waitpid(child, &status, 0) == child, "waitpid");
  show("the child opens its descriptors' folder", "%d", WEXITSTATUS(status));
  check(opens("/proc/self/fd") == 0, "the parent opens its own");
  check(opens("/proc/self/status") == 0, "and its status");
  check(opens("/proc/1/cmdline") == 0, "and another's command line");
  dispositions();
  smallest_stack();
  return report_failures != 0;
}
