// SPDX-License-Identifier: Apache-2.0
// micro KIND: does one kind of work and prints the nanoseconds of one unit of it (see `kinds`).
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { kCalls = 2000, kPages = 1024, kPage = 4096, kSteps = 20000000, kCopies = 8 };
#define MIB ((size_t)1 << 20)
#define COPY (8 * MIB)
#define FILL (32 * MIB)

static volatile uint64_t sink;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static char* fresh(size_t size) {
  char* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory != MAP_FAILED) return memory;
  perror("mmap");
  exit(1);
}

static double one_call(void) {
  const double start = now();
  for (int i = 0; i < kCalls; i++) sink += (uint64_t)syscall(SYS_getppid);
  return (now() - start) / kCalls;
}

// Small pages only, where the system can be told so: what is asked for is the price of one fault.
static double one_fault(void) {
  char* memory = fresh((size_t)kPages * kPage);
  madvise(memory, (size_t)kPages * kPage, MADV_NOHUGEPAGE);
  const double start = now();
  for (int i = 0; i < kPages; i++) ((volatile char*)memory)[(size_t)i * kPage] = 1;
  return (now() - start) / kPages;
}

static double one_step(void) {
  uint64_t x = 88172645463325252ULL;
  const double start = now();
  for (int i = 0; i < kSteps; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
  }
  sink = x;
  return (now() - start) / kSteps;
}

static double one_copied_mib(void) {
  char* from = fresh(COPY);
  char* to = fresh(COPY);
  memset(from, 1, COPY);
  memset(to, 2, COPY);
  const double start = now();
  for (int i = 0; i < kCopies; i++) {
    memcpy(to, from, COPY);
    sink += (uint64_t)to[(size_t)i * kPage];  // keeps each copy
  }
  return (now() - start) / ((double)kCopies * (COPY / MIB));
}

static double fill(void) {
  char* memory = fresh(FILL);
  const double start = now();
  memset(memory, 1, FILL);
  sink += (uint64_t)memory[FILL - 1];
  return now() - start;
}

static const struct {
  const char* name;
  double (*run)(void);
} kinds[] = {
    {"call", one_call}, {"fault", one_fault}, {"cpu", one_step}, {"copy", one_copied_mib}, {"fill", fill},
};

int main(int argc, char** argv) {
  for (size_t i = 0; argc == 2 && i < sizeof kinds / sizeof kinds[0]; i++)
    if (strcmp(argv[1], kinds[i].name) == 0) return printf("%.4f\n", kinds[i].run()) < 0;
  fprintf(stderr, "usage: micro call|fault|cpu|copy|fill\n");
  return 2;
}
