// SPDX-License-Identifier: Apache-2.0
// Does one thing over and over: soak KIND COUNT. After a tenth of it and at the end it prints a line and waits for one
// byte, so that its watcher can compare what it and its monitor hold.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void need(int ok, const char* what) {
  if (ok) return;
  perror(what);
  exit(99);
}

static volatile long own = 1;

static void forks(long i) {
  const pid_t child = fork();
  need(child >= 0, "fork");
  if (child == 0) {
    own = i;
    _exit((int)(i & 127));
  }
  int status = 0;
  need(waitpid(child, &status, 0) == child, "waitpid");
  need(WIFEXITED(status) && WEXITSTATUS(status) == (i & 127) && own == 1, "the child's status");
}

static void* thread(void* argument) { return (void*)((uintptr_t)argument + 1); }

static void threads(long i) {
  pthread_t some[4];
  for (uintptr_t k = 0; k < 4; k++) need(pthread_create(&some[k], NULL, thread, (void*)((uintptr_t)i + k)) == 0, "pthread_create");
  for (uintptr_t k = 0; k < 4; k++) {
    void* result;
    need(pthread_join(some[k], &result) == 0 && (uintptr_t)result == (uintptr_t)i + k + 1, "pthread_join");
  }
}

// 1 MiB each time, in odd sizes and places, half of it touched.
static void maps(long i) {
  enum { KEPT = 16 };
  static struct {
    char* at;
    size_t size;
  } kept[KEPT];
  const int slot = (int)(i % KEPT);
  if (kept[slot].at) {
    need(kept[slot].at[0] == (char)(i - KEPT), "old contents");
    need(munmap(kept[slot].at, kept[slot].size) == 0, "munmap");
  }
  kept[slot].size = (1 << 20) + (size_t)(i * 37 % 64) * 4096;
  char* at = mmap(NULL, kept[slot].size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  need(at != MAP_FAILED, "mmap");
  for (size_t offset = 0; offset < kept[slot].size; offset += 8192) at[offset] = (char)i;
  need(mprotect(at + (1 << 19), 4096, PROT_READ) == 0, "mprotect");
  kept[slot].at = at;
}

static atomic_long caught;
static void on_signal(int signo, siginfo_t* info, void* context) {
  (void)signo, (void)context;
  if (info->si_code == SI_QUEUE) caught++;
}

// Sent to itself by queue, some while blocked: none may be lost.
static void signals(long i) {
  if (i == 0) {
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    need(sigaction(SIGRTMIN, &action, NULL) == 0, "sigaction");
  }
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  const long before = caught;
  if (i % 2) sigprocmask(SIG_BLOCK, &set, NULL);
  for (int k = 0; k < 10; k++) need(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = k}) == 0, "sigqueue");
  if (i % 2) sigprocmask(SIG_UNBLOCK, &set, NULL);
  need(caught == before + 10, "ten signals");
}

static void pause_here(const char* where) {
  char byte;
  printf("%s\n", where);
  fflush(stdout);
  need(read(0, &byte, 1) == 1, "read");
}

int main(int argc, char** argv) {
  static const struct {
    const char* name;
    void (*step)(long);
  } kinds[] = {{"forks", forks}, {"threads", threads}, {"maps", maps}, {"signals", signals}};
  if (argc != 3) return 98;
  void (*step)(long) = NULL;
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    if (strcmp(kinds[i].name, argv[1]) == 0) step = kinds[i].step;
  }
  const long count = atol(argv[2]);
  if (!step || count < 10) return 98;
  for (long i = 0; i < count; i++) {
    if (i == count / 10) pause_here("warm");
    step(i);
  }
  pause_here("end");
  return 0;
}
