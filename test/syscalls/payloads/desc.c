// SPDX-License-Identifier: Apache-2.0
// Calls on descriptors.
#include <linux/close_range.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/poll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <termios.h>

#include "newer.h"
#include "say.h"

static void reading_and_writing(void) {
  static char buffer[64];  // far below the top of memory: a long read is cut, not refused
  char one[4] = "", two[8] = "";
  struct iovec iov[2] = {{"abc", 3}, {"defghij", 7}}, in[2] = {{one, 4}, {two, 6}};
  OK(memfd_create, "m", 0);
  DO(writev, 3, iov, 2);
  DO(pwrite64, 3, "XY", 2, 1);
  DO(pwritev, 3, iov, 1, 10, 0);
  DO(pwritev2, 3, iov, 2, 13, 0, 0);
  DO(lseek, 3, 0, SEEK_SET);
  DO(readv, 3, in, 2);
  line("'%.4s' '%.6s'", one, two);
  DO(pread64, 3, buffer, 8, 2);
  DO(preadv, 3, in, 2, 5, 0);
  DO(preadv2, 3, in, 2, -1, 0, 0);
  line("'%.4s' '%.6s'", one, two);
  DO(read, 3, buffer, sizeof buffer);
  DO(lseek, 3, 0, 99);
  DOR("too many", readv, 3, in, 2000);
  DOR("bad list", readv, 3, (void *)8, 2);
  struct iovec bad = {(void *)0x10, 8};
  DO(lseek, 3, 0, SEEK_SET);
  DOR("bad element", readv, 3, &bad, 1);
  DOR("bad buffer", read, 3, (void *)0x10, 8);
  DOR("length beyond memory", read, 3, buffer, 0x7ffff000);
  DO(lseek, 3, 0, SEEK_SET);
  DO(readahead, 3, 0, 10);
  DO(fadvise64, 3, 0, 0, 0);
  DO(fsync, 3);
  DO(fdatasync, 3);
  OK(sync);
  DO(syncfs, 3);
  DO(sync_file_range, 3, 0, 10, 0);
  uint64_t range[2] = {0, 0}, cached[5];
  DO(cachestat, 3, range, cached, 0);
  DO(close, 3);
  DO(close, 3);
}

static void duplicates(void) {
  DO(dup, 1);
  DO(dup2, 1, 9);
  DO(dup2, 1, 1);
  DO(dup3, 1, 8, O_CLOEXEC);
  DO(dup3, 1, 1, 0);
  DO(dup2, 55, 4);
  DO(fcntl, 1, F_DUPFD, 20);
  DO(fcntl, 1, F_DUPFD_CLOEXEC, 20);
  DO(fcntl, 21, F_GETFD);
  DO(fcntl, 21, F_SETFD, 0);
  DO(close_range, 20, 22, 0);
  DO(close_range, 3, 500, CLOSE_RANGE_CLOEXEC);
  DO(fcntl, 9, F_GETFD);
  DO(close_range, 3, ~0u, 0);
  DO(fcntl, 9, F_GETFD);
  DO(close_range, 10, 9, 0);
  DO(dup, 1);
  DO(close, 3);
}

static void file_control(void) {
  DO(openat, AT_FDCWD, "lock", O_RDWR | O_CREAT, 0600);
  DO(write, 3, "0123456789", 10);
  OK(fcntl, 3, F_GETFL);
  DO(fcntl, 3, F_SETFL, O_APPEND | O_NONBLOCK);
  line("append %d", !!(RAW(fcntl, 3, F_GETFL) & O_APPEND));
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 3};
  DO(fcntl, 3, F_SETLK, &lock);
  lock.l_type = F_RDLCK;
  DO(fcntl, 3, F_GETLK, &lock);
  line("lock type %d", lock.l_type);
  lock.l_type = F_WRLCK;
  lock.l_pid = 0;
  DO(fcntl, 3, F_OFD_GETLK, &lock);
  line("lock type %d", lock.l_type);
  DOR("no memory there", fcntl, 3, F_SETLK, 8);
  struct { int type; int pid; } owner = {1, 0};
  DO(fcntl, 3, F_GETOWN_EX, &owner);
  DO(fcntl, 3, F_SETSIG, 0);
  DO(fcntl, 3, F_GETSIG);
  DOR("unknown", fcntl, 3, 4711, 0);
  DO(flock, 3, LOCK_EX | LOCK_NB);
  DO(flock, 3, LOCK_UN);
  DO(close, 3);
  OK(memfd_create, "s", 2 /* MFD_ALLOW_SEALING */);
  DO(fcntl, 3, F_ADD_SEALS, F_SEAL_WRITE);
  DO(fcntl, 3, F_GET_SEALS);
  DO(write, 3, "x", 1);
  DO(close, 3);
}

static void pipes(void) {
  int p[2], q[2];
  char text[32] = "";
  DO(pipe, p);
  DO(pipe2, q, O_NONBLOCK | O_CLOEXEC);
  line("pipes %d %d %d %d", p[0], p[1], q[0], q[1]);
  DO(read, q[0], text, 1);
  DO(write, p[1], "spliced", 7);
  DO(tee, p[0], q[1], 100, 0);
  DO(splice, p[0], NULL, q[1], NULL, 100, 0);
  DO(read, q[0], text, sizeof text);
  line("'%s'", text);
  struct iovec iov = {"vector", 6};
  DO(vmsplice, q[1], &iov, 1, 0);
  DO(read, q[0], text, sizeof text);
  OK(fcntl, p[0], F_GETPIPE_SZ);
  DO(fcntl, p[0], F_SETPIPE_SZ, 65536);
  int available = -1;
  DO(write, p[1], "abc", 3);
  DO(ioctl, p[0], FIONREAD, &available);
  line("available %d", available);
  close_range(3, 100, 0);
}

static void copying(void) {
  off_t offset = 2;
  DO(openat, AT_FDCWD, "from", O_RDWR | O_CREAT | O_TRUNC, 0600);
  DO(write, 3, "0123456789", 10);
  DO(openat, AT_FDCWD, "to", O_RDWR | O_CREAT | O_TRUNC, 0600);
  DO(sendfile, 4, 3, &offset, 5);
  line("offset %ld", (long)offset);
  int64_t from = 0, to = 5;
  DO(copy_file_range, 3, &from, 4, &to, 4, 0);
  line("offsets %ld %ld", (long)from, (long)to);
  DO(lseek, 4, 0, SEEK_END);
  DOR("bad offset", sendfile, 4, 3, (void *)16, 5);
  close_range(3, 10, 0);
}

static void waiting(void) {
  int p[2];
  pipe(p);
  struct pollfd fds[2] = {{p[0], POLLIN, 0}, {-1, POLLIN, 0}};
  DO(poll, fds, 2, 0);
  write(p[1], "x", 1);
  DO(poll, fds, 2, 1000);
  line("revents %d", fds[0].revents);
  struct timespec ts = {1, 0};
  DO(ppoll, fds, 2, &ts, NULL, 8);
  sigset_t none;
  sigemptyset(&none);
  DO(ppoll, fds, 2, &ts, &none, 8);
  fd_set set;
  FD_ZERO(&set);
  FD_SET(p[0], &set);
  struct timeval tv = {1, 0};
  DO(select, p[0] + 1, &set, NULL, NULL, &tv);
  line("set %d", !!FD_ISSET(p[0], &set));
  struct { const void *mask; size_t size; } mask = {&none, 8};
  DO(pselect6, p[0] + 1, &set, NULL, NULL, &ts, &mask);
  DO(epoll_create, 1);
  DO(epoll_create1, EPOLL_CLOEXEC);
  struct epoll_event event = {EPOLLIN, {.u64 = 42}}, got[4];
  DO(epoll_ctl, 5, EPOLL_CTL_ADD, p[0], &event);
  DO(epoll_ctl, 5, EPOLL_CTL_ADD, p[0], &event);
  DO(epoll_wait, 5, got, 4, 0);
  line("data %d", (int)got[0].data.u64);
  DO(epoll_pwait, 5, got, 4, 0, &none, (size_t)8);
  DO(epoll_pwait2, 5, got, 4, &ts, NULL, (size_t)8);
  DO(epoll_ctl, 5, EPOLL_CTL_DEL, p[0], NULL);
  DO(epoll_wait, 5, got, 4, 0);
  DOR("no room", epoll_wait, 5, got, 0, 0);
  close_range(3, 10, 0);
}

static void special(void) {
  uint64_t value = 7;
  DO(eventfd, 3);
  DO(eventfd2, 0, EFD_NONBLOCK | EFD_SEMAPHORE);
  DO(read, 3, &value, 8);
  line("value %d", (int)value);
  DO(read, 4, &value, 8);
  value = 2;
  DO(write, 4, &value, 8);
  DO(read, 4, &value, 8);
  line("value %d", (int)value);
  close_range(3, 10, 0);
  DO(timerfd_create, CLOCK_MONOTONIC, TFD_CLOEXEC);
  struct itimerspec its = {{0, 0}, {0, 1000000}}, old;
  DO(timerfd_settime, 3, 0, &its, &old);
  DO(read, 3, &value, 8);
  DO(timerfd_gettime, 3, &old);
  line("left %ld", old.it_value.tv_nsec);
  DO(close, 3);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  DO(signalfd, -1, &set, 8);
  DO(close, 3);
  DO(signalfd4, -1, &set, 8, SFD_NONBLOCK);
  struct signalfd_siginfo info;
  DO(read, 3, &info, sizeof info);
  kill(getpid(), SIGUSR1);
  DO(read, 3, &info, sizeof info);
  line("signal %d from self %d", info.ssi_signo, info.ssi_pid == (unsigned)getpid());
  DO(close, 3);
}

static void terminals(void) {
  int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  say("ptmx", fd);
  struct termios t;
  struct winsize size = {24, 80, 0, 0};
  int unlock = 0, number = -1;
  DO(ioctl, fd, TIOCSPTLCK, &unlock);
  OK(ioctl, fd, TIOCGPTN, &number);
  DO(ioctl, fd, TCGETS, &t);
  DO(ioctl, fd, TIOCSWINSZ, &size);
  memset(&size, 0, sizeof size);
  DO(ioctl, fd, TIOCGWINSZ, &size);
  line("window %d x %d", size.ws_row, size.ws_col);
  DOR("no memory there", ioctl, fd, TIOCGWINSZ, 8);
  DOR("unknown", ioctl, fd, 0xdeadbeef, 8);
  int on = 1;
  DO(ioctl, fd, FIONBIO, &on);
  DO(ioctl, fd, FIOCLEX, 0);
  DO(fcntl, fd, F_GETFD);
  close(fd);
  DO(ioctl, 3, TCGETS, &t);
}

static void limits(void) {
  struct rlimit limit;
  DO(getrlimit, RLIMIT_NOFILE, &limit);
  line("nofile %lu %lu", (unsigned long)limit.rlim_cur, (unsigned long)limit.rlim_max);
  limit.rlim_cur = 64;
  DO(setrlimit, RLIMIT_NOFILE, &limit);
  DO(dup2, 1, 64);
  DO(dup2, 1, 63);
  DO(fcntl, 1, F_DUPFD, 64);
  DO(prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
  line("nofile %lu %lu", (unsigned long)limit.rlim_cur, (unsigned long)limit.rlim_max);
  int count = 0, fd;
  while ((fd = dup(1)) >= 0) count++;
  line("%d duplicates, then %s", count, strerrorname_np(errno));
  limit.rlim_cur = limit.rlim_max + 1;
  DO(prlimit64, 0, RLIMIT_NOFILE, &limit, NULL);
}

int main(void) {
  close_range(3, ~0u, 0);
  reading_and_writing();
  duplicates();
  file_control();
  pipes();
  copying();
  waiting();
  special();
  terminals();
  limits();
  return 0;
}
