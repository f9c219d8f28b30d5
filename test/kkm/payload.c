// SPDX-License-Identifier: Apache-2.0
/*
 * What a system call, the first touch of a page and plain computing cost the
 * program that does them: the same binary natively and under km, on every
 * device. Prints "NAME NANOSECONDS" lines; the best of several rounds.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CALLS 1000
#define PAGES 1024ul
#define PAGE 4096ul
#define STEPS 2000000
#define ROUNDS 5

static double now_ns(void) {
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static double calls(void) {
  double t = now_ns();

  for (int i = 0; i < CALLS; i++)
    syscall(SYS_getppid);
  return (now_ns() - t) / CALLS;
}

static double touches(void) {
  char *at = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  double t;

  if (at == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  madvise(at, PAGES * PAGE, MADV_NOHUGEPAGE);
  t = now_ns();
  for (size_t i = 0; i < PAGES; i++)
    at[i * PAGE] = 1;
  t = (now_ns() - t) / PAGES;
  munmap(at, PAGES * PAGE);
  return t;
}

static double steps(void) {
  double t = now_ns();
  uint64_t x = 1;

  for (int i = 0; i < STEPS; i++)
    __asm__ volatile("imul $3, %0, %0" : "+r"(x));
  return (now_ns() - t) / STEPS;
}

static void best(const char *name, double (*measure)(void)) {
  double least = measure();

  for (int i = 1; i < ROUNDS; i++) {
    double t = measure();

    if (t < least)
      least = t;
  }
  printf("%s %.2f\n", name, least);
}

int main(void) {
  best("call", calls);
  best("touch", touches);
  best("step", steps);
  return 0;
}
