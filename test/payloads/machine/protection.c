// SPDX-License-Identifier: Apache-2.0
// Rights that change under running code: code written, run, rewritten; several threads with stale translations;
// pages closed and opened again.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#include "report.h"

enum { kPage = 4096 };
static __thread sigjmp_buf back;
static void on_fault(int signo) { siglongjmp(back, signo); }

static void write_code(uint8_t* page, uint8_t value) {
  const uint8_t code[] = {0xb8, value, 0, 0, 0, 0xc3};  // mov $value, %eax; ret
  memcpy(page, code, sizeof code);
}

// A result, or minus the signal.
static int call(void* code) {
  const int signo = sigsetjmp(back, 1);
  return signo ? -signo : ((int (*)(void))code)();
}

static int store(volatile uint8_t* address) {
  const int signo = sigsetjmp(back, 1);
  if (signo) return -signo;
  *address = 1;
  return 0;
}

static void write_xor_execute(void) {
  uint8_t* page = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(page != MAP_FAILED, "mmap");
  int right = 0, refused_run = 0, refused_write = 0;
  for (int i = 0; i < 200; i++) {
    mprotect(page, kPage, PROT_READ | PROT_WRITE);
    write_code(page, (uint8_t)i);
    refused_run += call(page) == -SIGSEGV;
    mprotect(page, kPage, PROT_READ | PROT_EXEC);
    right += call(page) == (uint8_t)i;
    refused_write += store(page) == -SIGSEGV;
  }
  show("written, closed, run", "right %d, runs refused %d, writes refused %d", right, refused_run, refused_write);
  mprotect(page, kPage, PROT_READ | PROT_WRITE | PROT_EXEC);
  right = 0;
  for (int i = 0; i < 200; i++) {
    write_code(page, (uint8_t)(i + 3));
    right += call(page) == (uint8_t)(i + 3);
  }
  show("written while executable", "%d", right);
  mprotect(page, kPage, PROT_EXEC);
  show("execute-only runs", "%d", call(page) == (uint8_t)(199 + 3));
  mprotect(page, kPage, PROT_NONE);
  show("closed", "%d", call(page));
  mprotect(page, kPage, PROT_READ | PROT_EXEC);
  show("opened", "%d", call(page) == (uint8_t)(199 + 3));
}

// A large area whose translations were made in one piece: single pages of it change.
static void inside_large(void) {
  const size_t bytes = 8 << 20;
  uint8_t* area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(area != MAP_FAILED, "mmap");
  madvise(area, bytes, MADV_HUGEPAGE);
  memset(area, 0xc3, bytes);
  uint8_t* middle = area + bytes / 2 + 5 * kPage;
  mprotect(middle, kPage, PROT_READ);
  show("one page read-only", "%d, neighbours %d %d", store(middle), store(middle - 1), store(middle + kPage));
  mprotect(middle, kPage, PROT_READ | PROT_WRITE);
  show("and back", "%d", store(middle));
  mprotect(area, bytes, PROT_READ);
  show("all read-only", "%d %d %d", store(area), store(middle), store(area + bytes - 1));
  mprotect(area, bytes, PROT_READ | PROT_WRITE);
  munmap(middle, kPage);
  show("one page gone", "%d, neighbours %d %d", store(middle), store(middle - 1), store(middle + kPage));
  show("not executable", "%d", call(area + 100));
  munmap(area, bytes);
}

static uint8_t* contested;
static atomic_int faults, stop;

// Writes as long as it may; a fault means the page was closed.
static void* writer(void* arg) {
  (void)arg;
  while (!atomic_load(&stop)) {
    if (store(contested + 64) != 0) atomic_fetch_add(&faults, 1);
  }
  return NULL;
}

static void other_threads(void) {
  contested = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) must(pthread_create(&threads[i], NULL, writer, NULL) == 0, "pthread_create");
  int changed_after_close = 0, faulted = 0;
  for (int round = 0; round < 20; round++) {
    mprotect(contested, kPage, PROT_READ);
    const int before = atomic_load(&faults);
    // Closed for everybody from here on: what is there must stay.
    const uint8_t seen = *(volatile uint8_t*)(contested + 64);
    for (int i = 0; i < 2000 && atomic_load(&faults) == before; i++) sleep_ms(1);
    faulted += atomic_load(&faults) > before;
    changed_after_close += *(volatile uint8_t*)(contested + 64) != seen;
    mprotect(contested, kPage, PROT_READ | PROT_WRITE);
    *(volatile uint8_t*)(contested + 64) = 0;
    sleep_ms(1);
  }
  atomic_store(&stop, 1);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  show("rights taken from running threads", "rounds with faults %d, changed after closing %d", faulted, changed_after_close);
}

// munmap and a new map at the same place: other threads must see the new one.
static _Atomic uint64_t expected;
static atomic_int mismatches, looked;
static void* reader(void* arg) {
  (void)arg;
  while (!atomic_load(&stop)) {
    const uint64_t before = atomic_load(&expected);
    if (sigsetjmp(back, 1) == 0) {
      const uint64_t value = *(volatile uint64_t*)contested;
      // 0: just mapped and not yet written.
      if (before == atomic_load(&expected) && value != before && value != 0) atomic_fetch_add(&mismatches, 1);
      atomic_fetch_add(&looked, 1);
    }
  }
  return NULL;
}

static void replaced_maps(void) {
  atomic_store(&stop, 0);
  contested = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  pthread_t thread;
  must(pthread_create(&thread, NULL, reader, NULL) == 0, "pthread_create");
  for (uint64_t i = 1; i <= 200; i++) {
    void* again = mmap(contested, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    must(again == contested, "MAP_FIXED");
    atomic_store(&expected, i);
    *(volatile uint64_t*)contested = i;
    for (int n = atomic_load(&looked), j = 0; j < 200 && atomic_load(&looked) < n + 3; j++) sched_yield();
  }
  atomic_store(&stop, 1);
  pthread_join(thread, NULL);
  show("stale contents seen by another thread", "%d", atomic_load(&mismatches));
}

int main(void) {
  struct sigaction action = {.sa_handler = on_fault};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  write_xor_execute();
  inside_large();
  other_threads();
  replaced_maps();
  return finish();
}
