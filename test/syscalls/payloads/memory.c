// SPDX-License-Identifier: Apache-2.0
// Calls on memory.
#include <linux/mempolicy.h>
#include <sys/uio.h>

#include "say.h"

#define PAGE 4096ul

static char *map(size_t length, int prot, int flags) {
  return (char *)RAW(mmap, 0, length, prot, flags | MAP_ANONYMOUS, -1, 0);
}

static void mapping(void) {
  char *p = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  line("mmap %s", p == MAP_FAILED ? "failed" : "ok");
  p[0] = 1;
  DO(mprotect, p + 2 * PAGE, PAGE, PROT_READ);
  DO(munmap, p + 4 * PAGE, PAGE);
  DO(mprotect, p, 8 * PAGE, PROT_READ);
  DO(munmap, p + 1, PAGE);
  DO(msync, p, PAGE, MS_SYNC);
  DO(msync, p + 4 * PAGE, PAGE, MS_SYNC);
  unsigned char vec[8] = {0};
  DO(mincore, p, PAGE, vec);
  line("resident %d", vec[0] & 1);
  DO(madvise, p, PAGE, MADV_WILLNEED);
  DO(madvise, p + PAGE, 2 * PAGE, MADV_DONTNEED);
  DO(madvise, p, PAGE, 9999);
  char *q = (char *)RAW(mremap, p + 5 * PAGE, 2 * PAGE, 64 * PAGE, MREMAP_MAYMOVE, 0);
  line("mremap %s", q == MAP_FAILED ? "failed" : "ok");
  DO(mremap, q, 64 * PAGE, 0, 0, 0);
  DO(munmap, q, 64 * PAGE);
  DO(munmap, p, 8 * PAGE);
  line("fixed %d", RAW(mmap, p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (long)p);
  DO(mmap, p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  DO(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, 77, 0);
  DO(mmap, 0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void heap(void) {
  char *start = (char *)RAW(brk, 0);
  line("brk grows %d", RAW(brk, start + 3 * PAGE) == (long)(start + 3 * PAGE));
  start[2 * PAGE] = 5;
  line("brk shrinks %d", RAW(brk, start) == (long)start);
  line("brk refuses %d", RAW(brk, 16) == (long)start);
}

static void locking(void) {
  char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  DO(mlock, p, PAGE);
  DO(mlock2, p, PAGE, 1 /* MLOCK_ONFAULT */);
  DO(mlock2, p, PAGE, 99);
  DO(munlock, p, PAGE);
  DO(mlockall, 0);
  DO(mlockall, MCL_FUTURE | 4 /* MCL_ONFAULT */);
  DO(mlockall, MCL_CURRENT | 4);
  DO(munlockall);
  DOR("no key", pkey_mprotect, p, PAGE, PROT_READ, -1);
  DO(pkey_mprotect, p, PAGE, PROT_READ, 14);
}

static void placement(void) {
  char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  p[0] = 1;
  unsigned long nodes = 1;
  int mode = -1, status = -1, node = 0;
  DO(get_mempolicy, &mode, NULL, 0, NULL, 0);
  line("mode %d", mode);
  DO(set_mempolicy, MPOL_DEFAULT, NULL, 0);
  DO(mbind, p, PAGE, MPOL_PREFERRED, &nodes, 8, 0);
  DO(mbind, p + 1, PAGE, MPOL_PREFERRED, &nodes, 8, 0);
  DO(get_mempolicy, &mode, NULL, 0, p, 2 /* MPOL_F_ADDR */);
  line("mode %d", mode);
  DO(set_mempolicy_home_node, p, PAGE, 0, 0);
  void *pages[1] = {p};
  DO(move_pages, 0, 1, pages, NULL, &status, 0);
  line("node %d", status);
  DO(move_pages, 0, 1, pages, &node, &status, 0);
  DO(migrate_pages, 0, 8, &nodes, &nodes);
}

static void across(void) {
  char from[16] = "over there", to[16] = "";
  struct iovec local = {to, 11}, remote = {from, 11};
  DO(process_vm_readv, getpid(), &local, 1, &remote, 1, 0);
  line("'%s'", to);
  strcpy(to, "and back");
  DO(process_vm_writev, getpid(), &local, 1, &remote, 1, 0);
  line("'%s'", from);
  remote.iov_base = (void *)0x10;
  DO(process_vm_readv, getpid(), &local, 1, &remote, 1, 0);
  DO(process_vm_readv, getpid(), &local, 1, &remote, 1, 5);
}

static void pages_in_another_order(void) {
  int fd = (int)RAW(memfd_create, "order", MFD_CLOEXEC);
  DO(ftruncate, fd, 4 * PAGE);
  for (int i = 0; i < 4; i++) RAW(pwrite64, fd, &"abcd"[i], 1, i * PAGE);
  volatile char *p = (char *)RAW(mmap, 0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  line("%c%c%c%c", p[0], p[PAGE], p[2 * PAGE], p[3 * PAGE]);
  DO(remap_file_pages, p, PAGE, 0, 3, 0);
  DO(remap_file_pages, p + 2 * PAGE, PAGE, 0, 1, 0);
  line("%c%c%c%c", p[0], p[PAGE], p[2 * PAGE], p[3 * PAGE]);
  p[2 * PAGE] = 'x';
  line("%c", p[PAGE]);
  DOR("rights", remap_file_pages, p, PAGE, PROT_READ, 3, 0);
  char *mine = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  DOR("private", remap_file_pages, mine, PAGE, 0, 0, 0);
  DOR("nothing there", remap_file_pages, 0x1000, PAGE, 0, 0, 0);
  DOR("no page", remap_file_pages, p, 100, 0, 0, 0);
  DOR("too long", remap_file_pages, p, -PAGE, 0, 0, 0);
  DO(munmap, p, 4 * PAGE);
  close(fd);
}

static void memory_files(void) {
  int fd = say("memfd_create", RAW(memfd_create, "name", MFD_CLOEXEC));
  DO(ftruncate, fd, 2 * PAGE);
  char *p = (char *)RAW(mmap, 0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  p[PAGE] = 'x';
  char c = 0;
  DO(pread64, fd, &c, 1, PAGE);
  line("shared '%c'", c);
  DO(memfd_create, "name", 0xffff);
  close(fd);
}

int main(void) {
  mapping();
  heap();
  locking();
  placement();
  across();
  pages_in_another_order();
  memory_files();
  return 0;
}
