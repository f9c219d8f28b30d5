// SPDX-License-Identifier: Apache-2.0
// Thousands of random memory calls on a fixed region, with reads, writes and calls into it in between, by this thread
// and by a second one that has the old translations cached. Every result, value and signal goes into the output.
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#include "report.h"

#define BASE 0x4000000000ul
#define PAGE 4096ul
#define PAGES 6144ul
#define LINES (1 << 20)

static uint64_t seed;
static char text[LINES];
static size_t used;
static int files[2];

static uint64_t below(uint64_t n) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (seed * 0x2545f4914f6cdd1dull >> 33) % n;
}
static int chance(unsigned percent) { return below(100) < percent; }

// Kept in memory: a line a step through write(2) would be most of what the program does.
__attribute__((format(printf, 1, 2))) static void note(const char* format, ...) {
  va_list args;
  va_start(args, format);
  used += (size_t)vsnprintf(text + used, LINES - used, format, args);
  va_end(args);
  must(used < LINES - 256, "room for the log");
}

static uint64_t some_page(void) {
  if (chance(30)) return below(12) * 512;
  return chance(50) ? below(64) : below(PAGES);
}
static uint64_t some_pages(uint64_t from) {
  uint64_t n = chance(75) ? 1 + below(24) : chance(60) ? 512 * (1 + below(3)) + below(3) : 1 + below(900);
  return n < PAGES - from ? n : PAGES - from;
}
static int some_prot(void) {
  int prot = (int)below(8);
  return prot == PROT_EXEC ? PROT_READ | PROT_EXEC : prot;  // execute-only depends on protection keys
}

static void note_result(const char* what, uint64_t page, uint64_t pages, long value) {
  if (value == -1)
    note("%s %lu+%lu: %s\n", what, page, pages, strerrorname_np(errno));
  else if ((uint64_t)value >= BASE && (uint64_t)value < BASE + PAGES * PAGE)
    note("%s %lu+%lu: page %lu\n", what, page, pages, ((uint64_t)value - BASE) / PAGE);
  else
    note("%s %lu+%lu: %s\n", what, page, pages, value == 0 ? "0" : "elsewhere");
}

static void map(void) {
  uint64_t page = some_page(), pages = some_pages(page);
  int flags = chance(80) ? MAP_PRIVATE : MAP_SHARED, fd = -1, prot = some_prot();
  off_t offset = 0;
  if (chance(75)) {
    flags |= MAP_ANONYMOUS;
  } else {
    uint64_t file = below(2);
    fd = files[file];
    offset = (off_t)(below(30) * PAGE);
    note("file %lu at %lx, ", file, (long)offset);
  }
  if (chance(10)) flags |= MAP_NORESERVE;
  if (chance(10)) flags |= MAP_POPULATE;
  flags |= chance(85) ? MAP_FIXED : MAP_FIXED_NOREPLACE;
  void* at = mmap((void*)(BASE + page * PAGE), pages * PAGE, prot, flags, fd, offset);
  note("prot %d flags %x ", prot, flags);
  note_result("mmap", page, pages, (long)at);
}

static void unmap(void) {
  uint64_t page = some_page(), pages = some_pages(page);
  note_result("munmap", page, pages, munmap((void*)(BASE + page * PAGE), pages * PAGE));
}

static void protect(void) {
  uint64_t page = some_page(), pages = some_pages(page);
  note_result("mprotect", page, pages, mprotect((void*)(BASE + page * PAGE), pages * PAGE, some_prot()));
}

// Of a mapping made just now: whether old neighbours count as one mapping is the kernel's own affair.
static void remap(void) {
  uint64_t page = some_page(), target = some_page(), pages = some_pages(page), wanted = some_pages(target);
  int flags = chance(70) ? MREMAP_MAYMOVE : 0, shared = chance(20);
  if (flags && chance(60)) flags |= MREMAP_FIXED;
  if (chance(40)) wanted = pages = wanted < pages ? wanted : pages;
  char* from = (char*)(BASE + page * PAGE);
  must(mmap(from, pages * PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE),
            -1, 0) == from, "mmap");
  for (uint64_t i = 0; i < pages; i += 1 + below(64)) from[i * PAGE + 8] = (char)below(256);
  char* at = mremap(from, pages * PAGE, wanted * PAGE, flags, BASE + target * PAGE);
  note_result("mremap", page, wanted, (long)at);
  if (at == MAP_FAILED || ((uint64_t)at >= BASE && (uint64_t)at < BASE + PAGES * PAGE)) return;
  // Moved to a place of the system's choosing: bring it to one that is the same in every run.
  target = below(PAGES - wanted + 1);
  at = mremap(at, wanted * PAGE, wanted * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, BASE + target * PAGE);
  note_result("  back", target, wanted, (long)at);
}

static void advise(void) {
  static const int kinds[] = {MADV_DONTNEED, MADV_DONTNEED, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_WILLNEED, MADV_REMOVE, MADV_COLD};
  uint64_t page = some_page(), pages = some_pages(page);
  int kind = kinds[below(sizeof kinds / sizeof kinds[0])];
  note("kind %d ", kind);
  note_result("madvise", page, pages, madvise((void*)(BASE + page * PAGE), pages * PAGE, kind));
}

static void truncate_file(void) {
  off_t size = (off_t)(below(40) * PAGE + below(PAGE));
  uint64_t file = below(2);
  note("ftruncate file %lu to %lx: %d\n", file, (long)size, ftruncate(files[file], size));
}

static _Thread_local sigjmp_buf jump;
static _Thread_local siginfo_t caught;

static void on_signal(int signo, siginfo_t* info, void* context) {
  (void)signo;
  (void)context;
  caught = *info;
  siglongjmp(jump, 1);
}

struct touch {
  uint64_t offset;
  int how, value;
  char outcome[64];
};

// 0: read; 1: write; 2: call what is there (only when it is a `ret`).
static void touch(struct touch* t) {
  volatile unsigned char* p = (unsigned char*)(BASE + t->offset);
  if (sigsetjmp(jump, 1)) {
    snprintf(t->outcome, sizeof t->outcome, "signal %d code %d at %+ld", caught.si_signo, caught.si_code,
             (long)((uint64_t)caught.si_addr - (uint64_t)p));
    return;
  }
  unsigned value = 0;
  if (t->how == 1) __asm__ volatile("movb %b1, %0" : "=m"(*p) : "q"(t->value));
  if (t->how != 1) value = *p;
  if (t->how == 2 && value == 0xc3) ((void (*)(void))(uintptr_t)p)();
  snprintf(t->outcome, sizeof t->outcome, "%02x", value);
}

static struct touch order;
static sem_t asked, answered;
static int over;

static void* other_thread(void* unused) {
  for (;;) {
    sem_wait(&asked);
    if (over) return unused;
    touch(&order);
    sem_post(&answered);
  }
}

static void access_page(void) {
  order.offset = some_page() * PAGE + (chance(40) ? 0 : below(PAGE));
  order.how = (int)below(3);
  order.value = order.offset % PAGE ? (int)below(256) : 0xc3;
  if (chance(50)) {
    sem_post(&asked);
    sem_wait(&answered);
  } else {
    touch(&order);
  }
  note("touch %lu+%lx %d: %s\n", order.offset / PAGE, order.offset % PAGE, order.how, order.outcome);
}

static int new_file(void) {
  int fd = memfd_create("storm", 0);
  must(fd >= 0, "memfd_create");
  char page[PAGE];
  for (unsigned i = 0; i < 25; i++) {
    memset(page, (int)(i * 9 + 1), sizeof page);
    page[0] = (char)0xc3;
    must(write(fd, page, sizeof page) == (ssize_t)sizeof page, "write");
  }
  return fd;
}

static void storm(uint64_t first, int steps) {
  static void (*const actions[])(void) = {map, map, map, unmap, protect, protect, remap, advise};
  seed = first * 0x9e3779b97f4a7c15ull + 1;
  files[0] = new_file();
  files[1] = new_file();
  note("storm %lu\n", first);
  must(mmap((void*)BASE, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (void*)BASE,
       "mmap");
  for (int i = 0; i < steps; i++) {
    if (chance(65))
      access_page();
    else if (chance(3))
      truncate_file();
    else
      actions[below(sizeof actions / sizeof actions[0])]();
  }
  munmap((void*)BASE, PAGES * PAGE);
  close(files[0]);
  close(files[1]);
}

int main(int argc, char** argv) {
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  sem_init(&asked, 0, 0);
  sem_init(&answered, 0, 0);
  pthread_t thread;
  must(pthread_create(&thread, NULL, other_thread, NULL) == 0, "pthread_create");
  uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
  uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 3;
  for (uint64_t i = first; i < first + count; i++) storm(i, 1000);
  over = 1;
  sem_post(&asked);
  pthread_join(thread, NULL);
  fwrite(text, 1, used, stdout);
  return finish();
}
