// SPDX-License-Identifier: Apache-2.0
// mmap(2) and its family on anonymous memory: hints, fixed addresses, holes, splits, errors, large reservations.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "report.h"

enum { kPage = 4096 };
static const int kReadWrite = PROT_READ | PROT_WRITE;
static const int kAnon = MAP_PRIVATE | MAP_ANONYMOUS;

static sigjmp_buf back;
static void on_fault(int signo) { siglongjmp(back, signo); }

static int readable(const volatile char* address) {
  if (sigsetjmp(back, 1) != 0) return 0;
  (void)*address;
  return 1;
}

static int writable(volatile char* address) {
  if (sigsetjmp(back, 1) != 0) return 0;
  *address = *address;
  return 1;
}

// "rw", "r-", "--" for each page.
static void access_of(const char* what, char* start, int pages) {
  char text[128];
  int used = 0;
  for (int i = 0; i < pages; i++) {
    char* page = start + (size_t)i * kPage;
    used += snprintf(text + used, sizeof text - (size_t)used, "%c%c ", readable(page) ? 'r' : '-', writable(page) ? 'w' : '-');
  }
  show(what, "%s", text);
}

static char* map(void* where, size_t bytes, int prot, int flags) { return mmap(where, bytes, prot, flags, -1, 0); }

static const char* outcome(void* got, void* wanted) {
  if (got == MAP_FAILED) return strerrorname_np(errno);
  return got == wanted ? "there" : "elsewhere";
}

static void hints(void) {
  char* free_space = map(NULL, 64 * kPage, PROT_NONE, kAnon);
  must(free_space != MAP_FAILED, "mmap");
  munmap(free_space, 64 * kPage);
  char* hint = free_space + 16 * kPage;
  char* got = map(hint, kPage, kReadWrite, kAnon);
  show("free hint", "%s", outcome(got, hint));
  char* second = map(hint, kPage, kReadWrite, kAnon);
  show("taken hint", "%s", outcome(second, hint));
  munmap(second, kPage);
  second = map(hint + 100, kPage, kReadWrite, kAnon);
  show("taken, unaligned hint", "%s", outcome(second, hint));
  munmap(second, kPage);
  show("NOREPLACE on a taken page", "%s", outcome(map(hint, kPage, kReadWrite, kAnon | MAP_FIXED_NOREPLACE), hint));
  show("NOREPLACE overlapping", "%s", outcome(map(hint - kPage, 2 * kPage, kReadWrite, kAnon | MAP_FIXED_NOREPLACE), hint - kPage));
  show("NOREPLACE on a free page", "%s", outcome(map(hint + kPage, kPage, kReadWrite, kAnon | MAP_FIXED_NOREPLACE), hint + kPage));
  got[0] = 7;
  show("FIXED over it", "%s", outcome(map(hint, 2 * kPage, kReadWrite, kAnon | MAP_FIXED), hint));
  show("contents are new", "%d", got[0]);
  munmap(hint, 2 * kPage);
  static const uint64_t kFarAway[] = {0x10000000, 0x1234567000, 0x4000000000, 0x7000000000};
  for (size_t i = 0; i < sizeof kFarAway / sizeof kFarAway[0]; i++) {
    char* far_away = (char*)kFarAway[i];
    got = map(far_away, 3 * kPage, kReadWrite, kAnon | MAP_FIXED_NOREPLACE);
    show("NOREPLACE at a chosen place", "%#lx %s", (unsigned long)kFarAway[i], outcome(got, far_away));
    if (got == far_away) access_of("its pages", got, 3);
    munmap(far_away, 3 * kPage);
  }
}

static void errors(void) {
  result("length 0", map(NULL, 0, kReadWrite, kAnon) == MAP_FAILED ? -1 : 0);
  result("neither shared nor private", map(NULL, kPage, kReadWrite, MAP_ANONYMOUS) == MAP_FAILED ? -1 : 0);
  result("both kinds", map(NULL, kPage, kReadWrite, MAP_ANONYMOUS | MAP_SHARED | MAP_PRIVATE) == MAP_FAILED ? -1 : 0);
  result("fixed, unaligned", map((void*)0x10000001, kPage, kReadWrite, kAnon | MAP_FIXED) == MAP_FAILED ? -1 : 0);
  result("bad descriptor", mmap(NULL, kPage, kReadWrite, MAP_PRIVATE, 77, 0) == MAP_FAILED ? -1 : 0);
  result("kernel half", map((void*)0xffff800000000000, kPage, kReadWrite, kAnon | MAP_FIXED) == MAP_FAILED ? -1 : 0);
  result("more than there is", map(NULL, (size_t)1 << 50, PROT_NONE, kAnon | MAP_NORESERVE) == MAP_FAILED ? -1 : 0);
  result("length wraps", map(NULL, SIZE_MAX, PROT_NONE, kAnon) == MAP_FAILED ? -1 : 0);
  result("munmap unaligned", munmap((void*)0x10000001, kPage));
  result("munmap length 0", munmap((void*)0x10000000, 0));
  result("munmap of nothing", munmap((void*)0x10000000, kPage));
  result("munmap of kernel half", munmap((void*)0xffff800000000000, kPage));
  result("mprotect of nothing", mprotect((void*)0x10000000, kPage, PROT_READ));
  result("mprotect unaligned", mprotect((void*)0x10000001, kPage, PROT_READ));
  result("mprotect length 0", mprotect((void*)0x10000000, 0, PROT_READ));
  result("madvise of nothing", madvise((void*)0x10000000, kPage, MADV_DONTNEED));
  result("madvise, unknown advice", madvise((void*)0x10000000, kPage, 12345));
  result("msync of nothing", msync((void*)0x10000000, kPage, MS_SYNC));
  unsigned char resident;
  result("mincore of nothing", mincore((void*)0x10000000, kPage, &resident));
}

static void splits(void) {
  char* area = map(NULL, 10 * kPage, kReadWrite, kAnon);
  must(area != MAP_FAILED, "mmap");
  for (int i = 0; i < 10; i++) area[i * kPage] = (char)i;
  mprotect(area + 2 * kPage, 2 * kPage, PROT_READ);
  mprotect(area + 5 * kPage, kPage, PROT_NONE);
  munmap(area + 7 * kPage, kPage);
  access_of("protected and punched", area, 10);
  result("mprotect across the hole", mprotect(area, 10 * kPage, PROT_READ));
  access_of("it worked up to the hole", area, 10);
  result("mprotect up to the hole", mprotect(area, 7 * kPage, kReadWrite));
  access_of("writable again", area, 10);
  int kept = 0;
  for (int i = 0; i < 10; i++) {
    if (i != 7) kept += area[i * kPage] == i;
  }
  show("contents kept", "%d", kept);
  result("munmap across the hole", munmap(area, 10 * kPage));
  access_of("all gone", area, 10);
}

// Many neighbours with different rights; then everything in one go.
static void checkerboard(void) {
  enum { kPages = 512 };
  char* area = map(NULL, kPages * kPage, kReadWrite, kAnon);
  must(area != MAP_FAILED, "mmap");
  memset(area, 1, kPages * kPage);
  for (int i = 0; i < kPages; i += 2) mprotect(area + (size_t)i * kPage, kPage, PROT_READ);
  int read_only = 0, both = 0;
  for (int i = 0; i < kPages; i++) {
    if (writable(area + (size_t)i * kPage)) {
      both++;
    } else if (readable(area + (size_t)i * kPage)) {
      read_only++;
    }
  }
  show("checkerboard", "read-only %d, both %d", read_only, both);
  for (int i = 1; i < kPages; i += 4) munmap(area + (size_t)i * kPage, kPage);
  int left = 0;
  for (int i = 0; i < kPages; i++) left += readable(area + (size_t)i * kPage);
  show("with holes", "%d left", left);
  munmap(area, kPages * kPage);
}

static void reservations(void) {
  const size_t kHuge = (size_t)64 << 30;
  char* area = map(NULL, kHuge, PROT_NONE, kAnon | MAP_NORESERVE);
  show("64 GiB reserved", "%s", area == MAP_FAILED ? strerrorname_np(errno) : "done");
  must(area != MAP_FAILED, "mmap");
  show("reserved memory is closed", "%d", readable(area + (kHuge >> 1)));
  long sum = 0;
  for (int i = 0; i < 64; i++) {
    char* piece = area + ((size_t)i << 30) + (size_t)i * kPage;
    must(mprotect(piece, kPage, kReadWrite) == 0, "mprotect");
    *piece = (char)i;
    sum += *piece;
  }
  show("scattered pages", "%ld", sum);
  result("give back a piece", munmap(area + ((size_t)10 << 30), (size_t)20 << 30));
  show("piece, neighbour", "%d %d", readable(area + ((size_t)10 << 30)), readable(area + ((size_t)9 << 30) + 9 * kPage));
  munmap(area, kHuge);
  char* populated = map(NULL, 4 << 20, kReadWrite, kAnon | MAP_POPULATE);
  must(populated != MAP_FAILED, "MAP_POPULATE");
  unsigned char resident[1024];
  must(mincore(populated, 4 << 20, resident) == 0, "mincore");
  int present = 0;
  for (int i = 0; i < 1024; i++) present += resident[i] & 1;
  show("populated pages", "%d", present);
  munmap(populated, 4 << 20);
}

static void sharing(void) {
  char* shared = map(NULL, 2 * kPage, kReadWrite, MAP_SHARED | MAP_ANONYMOUS);
  char* private = map(NULL, kPage, kReadWrite, kAnon);
  must(shared != MAP_FAILED && private != MAP_FAILED, "mmap");
  shared[0] = private[0] = 1;
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    shared[0] = private[0] = 2;
    shared[kPage] = 3;  // touched first by the child
    _exit(shared[0] + private[0]);
  }
  int status;
  waitpid(child, &status, 0);
  show("after a child wrote", "shared %d %d, private %d, child saw %d", shared[0], shared[kPage], private[0], WEXITSTATUS(status));
}

static void advice(void) {
  char* area = map(NULL, 8 * kPage, kReadWrite, kAnon);
  must(area != MAP_FAILED, "mmap");
  memset(area, 9, 8 * kPage);
  result("DONTNEED", madvise(area + 2 * kPage, 3 * kPage, MADV_DONTNEED));
  show("zero there, kept elsewhere", "%d %d %d %d %d", area[kPage], area[2 * kPage], area[4 * kPage + 100], area[5 * kPage], area[7 * kPage]);
  area[2 * kPage] = 5;
  show("writable again", "%d", area[2 * kPage]);
  static const struct {
    const char* name;
    int advice;
  } kAdvice[] = {{"NORMAL", MADV_NORMAL},     {"RANDOM", MADV_RANDOM},     {"SEQUENTIAL", MADV_SEQUENTIAL}, {"WILLNEED", MADV_WILLNEED},
                 {"FREE", MADV_FREE},         {"HUGEPAGE", MADV_HUGEPAGE}, {"NOHUGEPAGE", MADV_NOHUGEPAGE}, {"DONTDUMP", MADV_DONTDUMP},
                 {"DODUMP", MADV_DODUMP},     {"DONTFORK", MADV_DONTFORK}, {"DOFORK", MADV_DOFORK},         {"COLD", MADV_COLD},
                 {"WIPEONFORK", MADV_WIPEONFORK}};
  for (size_t i = 0; i < sizeof kAdvice / sizeof kAdvice[0]; i++) result(kAdvice[i].name, madvise(area, kPage, kAdvice[i].advice));
  result("unaligned", madvise(area + 1, kPage, MADV_DONTNEED));
  // Large and aligned, written in full, dropped in the middle: huge pages must split.
  char* large = map(NULL, 8 << 20, kReadWrite, kAnon);
  memset(large, 4, 8 << 20);
  madvise(large + (3 << 20), 2 << 20, MADV_DONTNEED);
  long sum = 0;
  for (int i = 0; i < 8 << 20; i += kPage) sum += large[i];
  show("pages left of a large area", "%ld", sum / 4);
  munmap(large, 8 << 20);
  munmap(area, 8 * kPage);
}

static void limited(void) {
  const pid_t child = fork();
  if (child == 0) {
    const struct rlimit limit = {(rlim_t)2 << 30, (rlim_t)2 << 30};
    setrlimit(RLIMIT_AS, &limit);
    char* area = map(NULL, (size_t)4 << 30, PROT_NONE, kAnon | MAP_NORESERVE);
    _exit(area == MAP_FAILED && errno == ENOMEM ? 1 : 2);
  }
  int status;
  waitpid(child, &status, 0);
  show("over RLIMIT_AS", "%d", WEXITSTATUS(status));
}

int main(void) {
  struct sigaction action = {.sa_handler = on_fault};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  hints();
  errors();
  splits();
  checkerboard();
  reservations();
  sharing();
  advice();
  limited();
  return finish();
}
