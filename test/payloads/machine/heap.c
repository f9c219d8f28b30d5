// SPDX-License-Identifier: Apache-2.0
// brk(2), mremap(2) and what malloc makes of them.
#define _GNU_SOURCE
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "report.h"

enum { kPage = 4096 };
static sigjmp_buf back;
static void on_fault(int signo) { siglongjmp(back, signo); }
static int readable(const volatile char* address) {
  if (sigsetjmp(back, 1) != 0) return 0;
  (void)*address;
  return 1;
}

static uint64_t raw_brk(uint64_t address) { return (uint64_t)syscall(SYS_brk, address); }

// The C library must not ask for heap itself in between: its first allocations are made before.
static void program_break(void) {
  free(malloc(100));
  printf("the program's break\n");
  const uint64_t start = raw_brk(0);
  check(start != 0, "there is a break");
  const uint64_t page = (start + kPage - 1) & ~(uint64_t)(kPage - 1);
  show("grow by a byte", "%ld", (long)(raw_brk(start + 1) - start));
  show("grow by 1 MiB", "%ld", (long)(raw_brk(page + (1 << 20)) - page));
  char* heap = (char*)page;
  int zero = 1;
  for (int i = 0; i < 1 << 20; i += 512) zero &= heap[i] == 0;
  memset(heap, 7, 1 << 20);
  show("new memory is zero", "%d", zero);
  show("shrink", "%ld", (long)(raw_brk(page + 3 * kPage) - page));
  show("kept, gone", "%d %d", heap[2 * kPage], readable(heap + 4 * kPage));
  show("grow again", "%ld", (long)(raw_brk(page + 8 * kPage) - page));
  show("zero again", "%d", heap[4 * kPage]);
  show("below the start is refused", "%ld", (long)(raw_brk(0x10000) - page));
  show("too much is refused", "%ld", (long)(raw_brk((uint64_t)1 << 46) - page));
  char* obstacle = mmap((void*)(page + 64 * kPage), kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (obstacle != MAP_FAILED) {
    show("an obstacle stops it", "%ld", (long)(raw_brk(page + 65 * kPage) - page));
    munmap(obstacle, kPage);
  }
  show("64 MiB", "%ld", (long)(raw_brk(page + (64 << 20)) - page));
  long sum = 0;
  for (int i = 0; i < 64 << 20; i += kPage) sum += heap[i] = 1;
  show("pages touched", "%ld", sum);
  raw_brk(start);
  struct rlimit limit, old;
  getrlimit(RLIMIT_DATA, &old);
  limit = old;
  limit.rlim_cur = 16 << 20;
  setrlimit(RLIMIT_DATA, &limit);
  show("over RLIMIT_DATA", "%d", raw_brk(page + (64 << 20)) == start);
  setrlimit(RLIMIT_DATA, &old);
}

static char* area_of(int pages) {
  char* area = mmap(NULL, (size_t)pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(area != MAP_FAILED, "mmap");
  for (int i = 0; i < pages; i++) area[i * kPage] = (char)(i + 1);
  return area;
}

static void remap(void) {
  char* area = area_of(8);
  char* shrunk = mremap(area, 8 * kPage, 4 * kPage, 0);
  show("shrink", "%d, tail %d", shrunk == area, readable(area + 4 * kPage));
  char* grown = mremap(area, 4 * kPage, 8 * kPage, 0);
  show("grow into the free tail", "%d, kept %d, new %d", grown == area, area[3 * kPage], area[7 * kPage]);
  // With a neighbour behind it must move.
  mprotect(area + 4 * kPage, kPage, PROT_NONE);
  result("grow against a neighbour", mremap(area, 4 * kPage, 6 * kPage, 0) == MAP_FAILED ? -1 : 0);
  char* moved = mremap(area, 4 * kPage, 600 * kPage, MREMAP_MAYMOVE);
  must(moved != MAP_FAILED, "mremap");
  show("moved", "%d, kept %d %d, new %d, old %d", moved != area, moved[0], moved[3 * kPage], moved[599 * kPage], readable(area));
  char* place = area_of(4);
  char* fixed = mremap(moved, 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, place);
  show("moved to a chosen place", "%d, contents %d %d", fixed == place, place[0], place[3 * kPage]);
  result("overlapping", mremap(place, 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, place + kPage) == MAP_FAILED ? -1 : 0);
  result("of nothing", mremap((void*)0x10000000, kPage, 2 * kPage, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
  result("unaligned", mremap(place + 1, kPage, 2 * kPage, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
  result("to length 0", mremap(place, kPage, 0, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
  result("fixed without maymove", mremap(place, kPage, kPage, MREMAP_FIXED, area) == MAP_FAILED ? -1 : 0);
  char* shared = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  shared[0] = 42;
  char* twin = mremap(shared, 0, 2 * kPage, MREMAP_MAYMOVE);
  if (twin != MAP_FAILED) {
    twin[1] = 43;
    show("old length 0 doubles a shared map", "%d %d", twin[0], shared[1]);
  } else {
    show("old length 0 doubles a shared map", "%s", strerrorname_np(errno));
  }
  char* kept = mremap(place, 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
  if (kept != MAP_FAILED) {
    show("DONTUNMAP", "contents %d, old %d", kept[0], place[0]);
  } else {
    show("DONTUNMAP", "%s", strerrorname_np(errno));
  }
}

static void allocator(void) {
  enum { kBlocks = 2000 };
  static unsigned char* blocks[kBlocks];
  static size_t sizes[kBlocks];
  uint32_t seed = 12345;
  long wrong = 0;
  for (int round = 0; round < 20000; round++) {
    seed = seed * 1103515245 + 12345;
    const int i = (int)((seed >> 16) % kBlocks);
    if (blocks[i]) wrong += blocks[i][0] != (unsigned char)i || blocks[i][sizes[i] - 1] != (unsigned char)i;
    const size_t size = 1 + (seed >> 8) % ((seed & 31) == 0 ? 400000 : 2000);
    if (seed & 64) {
      free(blocks[i]);
      blocks[i] = NULL;
      continue;
    }
    unsigned char* block = realloc(blocks[i], size);
    must(block != NULL, "realloc");
    blocks[i] = block;
    sizes[i] = size;
    block[0] = block[size - 1] = (unsigned char)i;
  }
  for (int i = 0; i < kBlocks; i++) free(blocks[i]);
  show("malloc and realloc", "wrong %ld", wrong);
  malloc_trim(0);
  void* aligned = aligned_alloc(2 << 20, 8 << 20);
  show("aligned", "%d", aligned && (uintptr_t)aligned % (2 << 20) == 0);
  memset(aligned, 1, 8 << 20);
  free(aligned);
}

int main(void) {
  struct sigaction action = {.sa_handler = on_fault};
  sigaction(SIGSEGV, &action, NULL);
  program_break();
  remap();
  allocator();
  return finish();
}
