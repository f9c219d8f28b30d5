// SPDX-License-Identifier: Apache-2.0
// Makes the system calls it reads, one a line, `NUMBER ARG ARG ARG ARG ARG ARG`, and prints what each gives: an errno
// or "ok". An argument is a number or a letter with a value of its own: f file, s socket, e epoll, t timer, n inotify,
// d directory, p pidfd, m memory, z zeros, x the text "x", i its own process id. Each call finds everything as the one
// before it did. One process a number, so that what a call leaves behind meets only its own kind.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 2, PAGE = 4096, NOBODY = 65534, SECONDS = 60 };

static const char letters[] = "fsetndp";
enum { KINDS = sizeof letters - 1, FIRST = 20, SAVED = 40 };
static char *scratch, *zeros, *text;

static char* pages(void) {
  // A page that is not there behind each: no length reaches further than the memory does.
  char* at = mmap(NULL, (PAGES + 1) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(at, PAGES * PAGE, PROT_READ | PROT_WRITE);
  return at;
}

static void keep(int kind, int fd) {
  dup3(fd, SAVED + kind, O_CLOEXEC);
  close(fd);
}

static void prepare(void) {
  int pair[2];
  scratch = pages();
  zeros = pages();
  text = pages();
  keep(0, open("file", O_RDWR | O_CREAT | O_TRUNC, 0600));
  socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair);
  keep(1, pair[0]);
  keep(2, epoll_create1(0));
  keep(3, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  keep(4, inotify_init1(IN_NONBLOCK));
  keep(5, open(".", O_RDONLY | O_DIRECTORY));
  keep(6, (int)syscall(SYS_pidfd_open, getpid(), 0));
}

static void reset(void) {
  mmap(scratch, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  memset(zeros, 0, PAGES * PAGE);
  memset(text, 0, PAGES * PAGE);
  text[0] = 'x';
  unlink("x");
  close(open("x", O_WRONLY | O_CREAT | O_TRUNC, 0600));
  for (int kind = 0; kind < KINDS; kind++) dup3(SAVED + kind, FIRST + kind, O_CLOEXEC);
  if (ftruncate(FIRST, 64) != 0 || lseek(FIRST, 0, SEEK_SET) != 0) _exit(97);
}

static uint64_t value(const char* word) {
  const char* kind = strchr(letters, word[0]);
  if (kind != NULL && word[1] == 0) return (uint64_t)(FIRST + (kind - letters));
  switch (word[0]) {
    case 'm': return (uint64_t)scratch;
    case 'z': return (uint64_t)zeros;
    case 'x': return (uint64_t)text;
    case 'i': return (uint64_t)getpid();
    default: return strtoull(word, NULL, 0);
  }
}

static void make(const char* line) {
  char word[6][32];
  long nr;
  if (sscanf(line, "%ld %31s %31s %31s %31s %31s %31s", &nr, word[0], word[1], word[2], word[3], word[4], word[5]) != 7) _exit(96);
  uint64_t a[6];
  reset();
  for (int i = 0; i < 6; i++) a[i] = value(word[i]);
  alarm(SECONDS);
  const long result = syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
  const int error = errno;
  alarm(0);
  char out[300];
  const int n = snprintf(out, sizeof out, "%.200s: %s\n", line, result == -1 ? strerrorname_np(error) : "ok");
  if (write(1, out, (size_t)n) != n) _exit(95);
}

static char lines[8000][96];

int main(void) {
  int count = 0;
  while (count < 8000 && fgets(lines[count], sizeof lines[0], stdin)) {
    lines[count][strcspn(lines[count], "\n")] = 0;
    count++;
  }
  // Nobody's rights: what only root may do is refused before it is done.
  if (geteuid() == 0 && (chown(".", NOBODY, NOBODY) != 0 || setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
                         setresuid(NOBODY, NOBODY, NOBODY) != 0))
    return 98;
  signal(SIGALRM, SIG_DFL);
  for (int at = 0; at < count;) {
    const long nr = atol(lines[at]);
    int end = at;
    while (end < count && atol(lines[end]) == nr) end++;
    const pid_t child = fork();
    if (child == 0) {
      prepare();
      for (; at < end; at++) make(lines[at]);
      _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
    }
    if (status != 0) {
      printf("call %ld ended the process: 0x%x\n", nr, status);
      fflush(stdout);
    }
    at = end;
  }
  return 0;
}
