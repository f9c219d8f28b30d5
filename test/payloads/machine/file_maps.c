// SPDX-License-Identifier: Apache-2.0
// Files in memory: private and shared, offsets, growth and truncation, sharing between processes, descriptors gone.
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "report.h"

enum { kPage = 4096 };
static char name[64];

static sigjmp_buf back;
static void on_fault(int signo) { siglongjmp(back, signo); }
static int signal_of_read(const volatile char* address) {
  const int signo = sigsetjmp(back, 1);
  if (signo == 0) (void)*address;
  return signo;
}
static int signal_of_write(volatile char* address) {
  const int signo = sigsetjmp(back, 1);
  if (signo == 0) *address = 1;
  return signo;
}

static int new_file(int pages) {
  snprintf(name, sizeof name, "/tmp/km-maps-XXXXXX");
  const int fd = mkstemp(name);
  must(fd >= 0, "mkstemp");
  char page[kPage];
  for (int i = 0; i < pages; i++) {
    memset(page, 'a' + i, sizeof page);
    must(write(fd, page, sizeof page) == sizeof page, "write");
  }
  return fd;
}

static char byte_at(int fd, off_t where) {
  char byte = '?';
  return pread(fd, &byte, 1, where) == 1 ? byte : '-';
}

static void private_and_shared(void) {
  const int fd = new_file(4);
  char* shared = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char* private = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  char* third = mmap(NULL, kPage, PROT_READ, MAP_SHARED, fd, 2 * kPage);
  must(shared != MAP_FAILED && private != MAP_FAILED && third != MAP_FAILED, "mmap");
  show("contents", "%c%c%c%c, at an offset %c", shared[0], shared[kPage], private[2 * kPage], private[3 * kPage + 4095], third[0]);
  shared[2 * kPage] = 'S';
  // What a private map shows of later changes to the file is unspecified (mmap(2)) until it is copied.
  show("a shared write", "file %c, other map %c", byte_at(fd, 2 * kPage), third[0]);
  private[kPage] = 'P';
  show("a private write", "file %c, shared %c, private %c", byte_at(fd, kPage), shared[kPage], private[kPage]);
  must(pwrite(fd, "W", 1, 3 * kPage) == 1 && pwrite(fd, "X", 1, kPage) == 1, "pwrite");
  show("write(2)", "shared %c, copied private %c", shared[3 * kPage], private[kPage]);
  madvise(private, 4 * kPage, MADV_DONTNEED);
  show("private after DONTNEED", "%c", private[kPage]);
  result("msync", msync(shared, 4 * kPage, MS_SYNC));
  close(fd);
  unlink(name);
  shared[0] = 'U';
  show("without descriptor and name", "%c %c", shared[0], third[0]);
  munmap(shared, 4 * kPage);
  munmap(private, 4 * kPage);
}

static void over_anonymous(void) {
  const int fd = new_file(2);
  char* area = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(area, '.', 4 * kPage);
  must(mmap(area + kPage, 2 * kPage, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == area + kPage, "MAP_FIXED");
  show("a file in the middle", "%c%c%c%c", area[0], area[kPage], area[2 * kPage], area[3 * kPage]);
  show("it is read-only", "%s", sigabbrev_np(signal_of_write(area + kPage)));
  close(fd);
  unlink(name);
  munmap(area, 4 * kPage);
}

static void truncation(void) {
  const int fd = new_file(3);
  char* map = mmap(NULL, 8 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  must(map != MAP_FAILED, "mmap");
  show("behind the end", "%s", sigabbrev_np(signal_of_read(map + 5 * kPage)));
  must(ftruncate(fd, 6 * kPage) == 0, "grow");
  show("after it grew", "%d, byte %d", signal_of_read(map + 5 * kPage), map[5 * kPage]);
  for (int i = 0; i < 6; i++) map[i * kPage] = 'm';
  must(ftruncate(fd, kPage + 10) == 0, "shrink");
  show("cut off", "%s %s", sigabbrev_np(signal_of_read(map + 2 * kPage)), sigabbrev_np(signal_of_write(map + 4 * kPage)));
  show("the partial page", "%d, rest %d", signal_of_read(map + kPage + 4000), map[kPage + 4000]);
  map[kPage + 11] = 'x';
  must(ftruncate(fd, 0) == 0 && ftruncate(fd, 3 * kPage) == 0, "empty and grow");
  show("everything is new", "%d %d %d", map[0], map[kPage + 11], map[2 * kPage]);
  close(fd);
  unlink(name);
  munmap(map, 8 * kPage);
}

static void rights(void) {
  const int fd = new_file(1);
  const int reader = open(name, O_RDONLY), writer = open(name, O_WRONLY), directory = open("/tmp", O_RDONLY);
  result("shared writable map of a read-only descriptor", mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0) == MAP_FAILED ? -1 : 0);
  char* private = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, reader, 0);
  result("private writable map of it", private == MAP_FAILED ? -1 : 0);
  result("map of a write-only descriptor", mmap(NULL, kPage, PROT_READ, MAP_SHARED, writer, 0) == MAP_FAILED ? -1 : 0);
  result("map of a directory", mmap(NULL, kPage, PROT_READ, MAP_SHARED, directory, 0) == MAP_FAILED ? -1 : 0);
  result("odd offset", mmap(NULL, kPage, PROT_READ, MAP_SHARED, reader, 12) == MAP_FAILED ? -1 : 0);
  char* shared = mmap(NULL, kPage, PROT_READ, MAP_SHARED, reader, 0);
  result("mprotect to writable", mprotect(shared, kPage, PROT_READ | PROT_WRITE));
  int pipes[2];
  must(pipe(pipes) == 0, "pipe");
  result("map of a pipe", mmap(NULL, kPage, PROT_READ, MAP_SHARED, pipes[0], 0) == MAP_FAILED ? -1 : 0);
  close(fd);
  close(reader);
  close(writer);
  close(directory);
  unlink(name);
}

static void between_processes(void) {
  const int fd = new_file(2);
  char* map = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    map[1] = 'c';
    char* own = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, kPage);
    own[1] = 'd';
    _exit(0);
  }
  waitpid(child, NULL, 0);
  show("a child's writes", "%c %c", map[1], map[kPage + 1]);
  close(fd);
  unlink(name);
}

// read(2) and write(2) straight into and out of maps, with the kernel doing the faulting.
static void calls_on_maps(void) {
  const int fd = new_file(3), out = new_file(0);
  char* map = mmap(NULL, 3 * kPage, PROT_READ, MAP_SHARED, fd, 0);
  result("write from a map", write(out, map, 3 * kPage));
  char* target = mmap(NULL, 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  result("read into a fresh map", pread(out, target, 3 * kPage, 0));
  show("read bytes", "%c%c%c", target[0], target[kPage], target[2 * kPage]);
  result("read into a read-only map", pread(out, map, kPage, 0));
  mprotect(target + kPage, kPage, PROT_NONE);
  result("read up to a closed page", pread(out, target, 3 * kPage, 0));
  result("read into a closed page", pread(out, target + kPage, 10, 0));
  result("write from a closed page", write(out, target + kPage, 10));
  result("read into nothing", pread(out, (char*)0x10000000, 10, 0));
  result("read into the kernel half", pread(out, (char*)0xffff800000000000, 10, 0));
  result("read of nothing into nothing", pread(out, NULL, 0, 0));
  close(fd);
  close(out);
  unlink(name);
}

// The same memory twice: writable here, executable there, as compilers at run time do it.
static void double_map(void) {
  const int fd = memfd_create("code", MFD_CLOEXEC);
  must(fd >= 0 && ftruncate(fd, kPage) == 0, "memfd_create");
  uint8_t* write_side = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  void* run_side = mmap(NULL, kPage, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  must(write_side != MAP_FAILED && run_side != MAP_FAILED, "mmap");
  int sum = 0;
  for (int i = 0; i < 100; i++) {
    const uint8_t code[] = {0xb8, (uint8_t)i, 0, 0, 0, 0xc3};  // mov $i, %eax; ret
    memcpy(write_side, code, sizeof code);
    __builtin___clear_cache((char*)run_side, (char*)run_side + kPage);
    sum += ((int (*)(void))run_side)();
  }
  show("code written here and run there", "%d", sum);
}

int main(void) {
  struct sigaction action = {.sa_handler = on_fault};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  private_and_shared();
  over_anonymous();
  truncation();
  unlink(name);
  rights();
  between_processes();
  calls_on_maps();
  double_map();
  return finish();
}
