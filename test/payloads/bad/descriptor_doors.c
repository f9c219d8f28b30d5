// SPDX-License-Identifier: Apache-2.0
// descriptor_doors [planted]: looks for descriptors that are not its own behind every door there is, and names each door
// that opened. With an argument it first plants one, so that a native run shows that every door would be noticed.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST = 1000, LAST = 1300, SPARE = 500, PLANTED = 1030 };  // its own are below; the monitor's are above 1000

static int sockets[2], epoll, self;
static char path[128];
static pid_t whose;

/// Whether an opened file is more than the program had by its own name: km shows its own executable as the program's,
/// and holds /proc.
static int gives(int got) {
  struct stat opened, known;
  if (got < 0) return 0;
  const int failed = fstat(got, &opened);
  close(got);
  for (const char* const* name = (const char* const[]){"/proc/self/exe", "/proc", NULL}; *name != NULL; name++)
    if (failed || (stat(*name, &known) == 0 && known.st_dev == opened.st_dev && known.st_ino == opened.st_ino)) return 0;
  return 1;
}

enum { FLAGS = O_NONBLOCK | O_NOCTTY | O_CLOEXEC };

static int opens(const char* folder, int fd, int flags) {
  snprintf(path, sizeof path, "%s/%d", folder, fd);
  return gives(open(path, flags | FLAGS));
}

static int opens_of(const char* format, int fd, int flags) {
  char folder[64];
  snprintf(folder, sizeof folder, format, whose);
  return opens(folder, fd, flags);
}

static int by_dup(int fd) { return dup2(fd, SPARE) >= 0; }
static int by_dup3(int fd) { return dup3(fd, SPARE, O_CLOEXEC) >= 0; }
static int by_flags(int fd) { return fcntl(fd, F_GETFD) >= 0; }
static int by_dupfd(int fd) {
  const int got = fcntl(fd, F_DUPFD, SPARE);
  if (got >= 0) close(got);
  return got >= 0;
}
static int by_fstat(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0;
}
static int by_statx(int fd) {
  struct statx st;
  return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &st) == 0;
}
static int by_poll(int fd) {
  struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT};
  return poll(&one, 1, 0) >= 0 && !(one.revents & POLLNVAL);
}
static int by_ppoll(int fd) {
  struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT};
  const struct timespec now = {0, 0};
  return ppoll(&one, 1, &now, NULL) >= 0 && !(one.revents & POLLNVAL);
}
static unsigned long set[LAST / 64 + 2];
static int by_select(int fd) {
  struct timeval now = {0, 0};
  memset(set, 0, sizeof set);
  set[fd / 64] |= 1ul << (fd % 64);
  return syscall(SYS_select, fd + 1, set, NULL, NULL, &now) >= 0 && fcntl(fd, F_GETFD) < 0 ? 0 : errno != EBADF;
}
static int by_epoll(int fd) {
  struct epoll_event event = {.events = EPOLLIN};
  const int added = epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  const int door = added == 0 || errno != EBADF;
  if (added == 0) epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &event);
  return door;
}
static int by_rights(int fd) {
  char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec iov = {&byte, 1};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &fd, sizeof fd);
  return sendmsg(sockets[0], &m, MSG_DONTWAIT) >= 0;
}
static int by_getfd(int fd) { return syscall(SYS_pidfd_getfd, self, fd, 0) >= 0; }
static int by_kcmp(int fd) { return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fd, 0) >= 0; }
static int by_ioctl(int fd) { return ioctl(fd, FIOCLEX, 0) >= 0 || errno != EBADF; }
static int by_mmap(int fd) { return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) != MAP_FAILED || errno != EBADF; }
static int by_at(int fd) { return faccessat(fd, "x", F_OK, 0) == 0 || errno != EBADF; }
static int by_exec(int fd) {
  char* none[] = {NULL};
  return syscall(SYS_execveat, fd, "", none, none, AT_EMPTY_PATH) == 0 || errno != EBADF;
}
static int by_link(int fd) {
  char text[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return readlink(path, text, sizeof text) >= 0;
}
static int by_proc(int fd) { return opens_of("/proc/%d/fd", fd, O_RDONLY); }
static int by_proc_write(int fd) { return opens_of("/proc/%d/fd", fd, O_RDWR); }
static int by_task(int fd) { return opens_of("/proc/self/task/%d/fd", fd, O_RDONLY); }
static int by_self(int fd) { return opens("/proc/self/fd", fd, O_RDONLY); }
static int by_thread(int fd) { return opens("/proc/thread-self/fd", fd, O_RDONLY); }
static int by_dev(int fd) { return opens("/dev/fd", fd, O_RDONLY); }
static int by_directory(int fd) {
  char name[16];
  const int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
  snprintf(name, sizeof name, "%d", fd);
  const int door = gives(openat(directory, name, O_RDONLY | FLAGS));
  close(directory);
  return door;
}
static int by_close(int fd) { return close(fd) == 0; }

static const struct {
  const char* name;
  int (*door)(int fd);
  int of_parent;  // also asked by a child about its parent
} doors[] = {
    {"dup2", by_dup, 0}, {"dup3", by_dup3, 0}, {"F_GETFD", by_flags, 0}, {"F_DUPFD", by_dupfd, 0},
    {"fstat", by_fstat, 0}, {"statx", by_statx, 0}, {"poll", by_poll, 0}, {"ppoll", by_ppoll, 0},
    {"select", by_select, 0}, {"epoll_ctl", by_epoll, 0}, {"SCM_RIGHTS", by_rights, 0}, {"pidfd_getfd", by_getfd, 1},
    {"kcmp", by_kcmp, 0}, {"ioctl", by_ioctl, 0}, {"mmap", by_mmap, 0}, {"faccessat", by_at, 0},
    {"execveat", by_exec, 0}, {"readlink", by_link, 0}, {"/proc/PID/fd", by_proc, 1},
    {"/proc/PID/fd for writing", by_proc_write, 1}, {"/proc/self/fd", by_self, 0}, {"/proc/thread-self/fd", by_thread, 0},
    {"/proc/self/task/TID/fd", by_task, 0}, {"/dev/fd", by_dev, 0}, {"openat in /proc/self/fd", by_directory, 0},
    {"close", by_close, 0},  // the last: the planted one is gone then
};

static void try_doors(int first, int last, const char* of) {
  for (unsigned i = 0; i < sizeof doors / sizeof *doors; i++) {
    int count = 0, some = 0;
    if (whose != getpid() && !doors[i].of_parent) continue;
    for (int fd = first; fd < last; fd++) {
      if (!doors[i].door(fd)) continue;
      count++;
      some = fd;
    }
    if (count > 0) printf("OPEN %s%s: %d, such as %d\n", doors[i].name, of, count, some);
  }
  fflush(stdout);
}

int main(int argc, char** argv) {
  const int planted = argc > 1 && strcmp(argv[1], "planted") == 0;
  const int first = planted ? PLANTED : FIRST, last = planted ? PLANTED + 1 : LAST;
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets) != 0) return 1;
  epoll = epoll_create1(0);
  self = (int)syscall(SYS_pidfd_open, getpid(), 0);
  if (planted && (dup2(open("/dev/null", O_RDWR), PLANTED) != PLANTED)) return 1;
  whose = getpid();
  const pid_t child = fork();
  if (child == 0) {
    close_range(FIRST, ~0u, 0);  // what it inherited
    try_doors(first, last, " of the parent");
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  try_doors(first, last, "");
  puts("done");
  return status != 0;
}
