// SPDX-License-Identifier: Apache-2.0
// Descriptors in numbers: limits raised and lowered, thousands of every kind open at once, EMFILE from whatever makes
// one, waiting for all of them. The limits are Linux's, not a table's.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "report.h"

enum { kMany = 3000 };

static rlim_t set_limit(rlim_t soft, rlim_t hard) {
  const struct rlimit wanted = {soft, hard};
  struct rlimit got = {0, 0};
  if (setrlimit(RLIMIT_NOFILE, &wanted) != 0) show("setrlimit", "%s", strerrorname_np(errno));
  getrlimit(RLIMIT_NOFILE, &got);
  return got.rlim_cur;
}

static int listed(void) {
  DIR* directory = opendir("/proc/self/fd");
  must(directory != NULL, "opendir");
  int count = 0;
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  return count;
}

static void* nothing(void* arg) { return arg; }

static void start_threads(void) {
  pthread_t threads[20];
  int started = 0;
  for (int i = 0; i < 20; i++) started += pthread_create(&threads[i], NULL, nothing, NULL) == 0;
  for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
  show("threads", "%d", started);
}

static int fds[kMany];

/// One of a kind each time round, so that no kind of its own has a limit of its own.
static int one_more(int i) {
  switch (i % 6) {
    case 0: return eventfd(1, EFD_CLOEXEC);
    case 1: return open("/dev/null", O_RDONLY);
    case 2: return socket(AF_UNIX, SOCK_DGRAM, 0);
    case 3: return fcntl(fds[0], F_DUPFD, 0);
    case 4: return timerfd_create(CLOCK_MONOTONIC, 0);
    default: return dup(fds[1]);
  }
}

static void thousands(void) {
  int made = 0;
  for (; made < kMany; made++) {
    fds[made] = one_more(made);
    if (fds[made] < 0) break;
  }
  show("descriptors at once", "%d%s%s", made, made < kMany ? ", then " : "", made < kMany ? strerrorname_np(errno) : "");
  int same = 0;
  for (int i = 0; i < made; i++) same += fcntl(fds[i], F_GETFD) >= 0;
  show("all of them answer", "%d", same);
  start_threads();
  show("all of them are listed", "%d", listed() >= made);
}

static void waiting(void) {
  static struct pollfd list[kMany];
  for (int i = 0; i < kMany; i++) list[i] = (struct pollfd){fds[i], POLLIN, 0};
  const int ready = poll(list, kMany, 0);
  int events = 0;
  for (int i = 0; i < kMany; i++) events += (list[i].revents & POLLIN) != 0;
  // Events and their copies, and /dev/null and its: two kinds of three twice.
  show("poll of all", "%d, ready %d", ready, events);
  const int set = epoll_create1(EPOLL_CLOEXEC);
  int added = 0;
  for (int i = 0; i < kMany; i++) {
    struct epoll_event want = {.events = EPOLLIN, .data.u32 = (unsigned)i};
    added += epoll_ctl(set, EPOLL_CTL_ADD, fds[i], &want) == 0;
  }
  static struct epoll_event got[kMany];
  show("epoll of all", "added %d, ready %d", added, epoll_wait(set, got, kMany, 0));
  close(set);
  // select(2) takes any number; fd_set(3) is what ends at 1024.
  const int top = 2999;
  static unsigned long bits[3008 / 64];
  must(fcntl(top, F_GETFD) >= 0, "a descriptor 2999");
  bits[fds[0] / 64] |= 1ul << (fds[0] % 64);
  bits[top / 64] |= 1ul << (top % 64);
  struct timeval none = {0, 0};
  result("select beyond 1024", syscall(SYS_select, top + 1, bits, NULL, NULL, &none) > 0 ? 1 : 0);
}

static void inherited(void) {
  fflush(stdout);
  const pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    int open_ones = 0;
    for (int i = 0; i < kMany; i++) open_ones += fcntl(fds[i], F_GETFD) >= 0;
    _exit(open_ones == kMany ? 17 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  show("a child has them all", "%d", WEXITSTATUS(status) == 17);
  result("close_range", close_range((unsigned)fds[0], ~0u, 0));
  show("what is left answers", "%d", fcntl(fds[0], F_GETFD) < 0 && fcntl(fds[kMany - 1], F_GETFD) < 0);
}

// Not tried: the handful from 1024 on that the monitor has; dup2 onto them is EBADF (docs/compatibility.md).
static void high_numbers(void) {
  static const int kNumbers[] = {727, 728, 729, 1023, 1100, 1300, 1535, 1536, 2047, 3999, 4000};
  for (size_t i = 0; i < sizeof kNumbers / sizeof kNumbers[0]; i++) {
    char what[32];
    snprintf(what, sizeof what, "dup2 to %d", kNumbers[i]);
    result(what, dup2(0, kNumbers[i]));
  }
  close_range(500, ~0u, 0);
}

static void passing_at_the_limit(int fd) {
  int pair[2];
  char control[CMSG_SPACE(sizeof fd)] = "", byte = 0;
  struct iovec part = {&byte, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return;
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  must(sendmsg(pair[0], &message, 0) == 1, "sendmsg");
  struct rlimit old;
  getrlimit(RLIMIT_NOFILE, &old);
  set_limit((rlim_t)pair[1] + 1, old.rlim_max);
  message.msg_controllen = sizeof control;
  const long n = recvmsg(pair[1], &message, 0);
  show("a passed descriptor there is no room for", "%ld bytes, truncated %d, control %zu", n, (message.msg_flags & MSG_CTRUNC) != 0,
       (size_t)message.msg_controllen);
  set_limit(old.rlim_cur, old.rlim_max);
  close(pair[0]);
  close(pair[1]);
}

/// Everything that makes a descriptor says EMFILE at the limit.
static void at_the_limit(void) {
  struct rlimit old;
  getrlimit(RLIMIT_NOFILE, &old);
  const int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0), poller = epoll_create1(0);
  struct sockaddr_un where = {.sun_family = AF_UNIX};
  must(bind(server, (void*)&where, sizeof(sa_family_t)) == 0 && listen(server, 5) == 0, "listen");
  socklen_t size = sizeof where;
  must(getsockname(server, (void*)&where, &size) == 0 && connect(client, (void*)&where, size) == 0, "connect");
  set_limit((rlim_t)poller + 1, old.rlim_max);
  int two[2];
  sigset_t none;
  sigemptyset(&none);
  result("open", open("/dev/null", O_RDONLY));
  result("open of a file of /proc", open("/proc/self/maps", O_RDONLY));
  result("dup", dup(0));
  result("dup3 to the limit", dup3(0, poller + 1, O_CLOEXEC));
  result("F_DUPFD", fcntl(0, F_DUPFD, 3));
  result("F_DUPFD at the limit", fcntl(0, F_DUPFD, poller + 1));
  result("pipe", pipe(two));
  result("socket", socket(AF_INET, SOCK_STREAM, 0));
  result("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, two));
  result("accept", accept(server, NULL, NULL));
  result("eventfd", eventfd(0, 0));
  result("signalfd", signalfd(-1, &none, 0));
  result("timerfd_create", timerfd_create(CLOCK_MONOTONIC, 0));
  result("epoll_create1", epoll_create1(0));
  result("inotify_init1", inotify_init1(0));
  result("memfd_create", memfd_create("x", 0));
  result("pidfd_open", syscall(SYS_pidfd_open, getpid(), 0));
  result("a directory", open("/", O_DIRECTORY | O_PATH));
  set_limit(old.rlim_cur, old.rlim_max);
  const int accepted = accept(server, NULL, NULL);
  succeeds("the connection is still there", accepted);
  close(accepted);
  close(server);
  close(client);
  close(poller);
  passing_at_the_limit(0);
}

/// What the monitor needs descriptors for goes on whatever the payload allows itself.
static void lowered(rlim_t soft, rlim_t hard) {
  show("limits", "%lu %lu, now %lu", (unsigned long)soft, (unsigned long)hard, (unsigned long)set_limit(soft, hard));
  start_threads();
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) _exit(5);
  int status = 0;
  must(child > 0 && waitpid(child, &status, 0) == child, "waitpid");
  show("a child", "%s %d", WIFEXITED(status) ? "exited" : "killed", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  result("raise again beyond the hard limit", geteuid() == 0 ? -2 : setrlimit(RLIMIT_NOFILE, &(struct rlimit){hard, hard + 1}));
}

int main(void) {
  struct rlimit start;
  getrlimit(RLIMIT_NOFILE, &start);
  show("limits at the start", "%lu %lu", (unsigned long)start.rlim_cur, (unsigned long)start.rlim_max);
  if (start.rlim_max < 4001) {
    show("a hard limit of 4001", "is not there");
    return finish();
  }
  result("soft above hard", setrlimit(RLIMIT_NOFILE, &(struct rlimit){start.rlim_max, start.rlim_max - 1}));
  show("raised", "%lu", (unsigned long)set_limit(4001, start.rlim_max));
  high_numbers();
  thousands();
  waiting();
  inherited();
  at_the_limit();
  lowered(1200, 1200);
  lowered(333, 444);
  lowered(100, 100);
  lowered(40, 60);
  return finish();
}
