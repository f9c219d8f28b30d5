// SPDX-License-Identifier: Apache-2.0
// Which blocked calls a signal interrupts and which go on (signal(7)), with and without SA_RESTART.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "report.h"

// Signals that queue, and ms between them: on a busy machine the first may come before the call. What the call waits for
// happens one such time after the last.
enum { kSignals = 3, kEvery = 60, kThen = (kSignals + 1) * kEvery };

static atomic_int handled;
static void on_signal(int signo) {
  (void)signo;
  atomic_fetch_add(&handled, 1);
}

struct Plan {
  pthread_t target;
  void (*then)(int);
  int argument;
};

static void* helper(void* arg) {
  struct Plan* plan = arg;
  for (int i = 0; i < kSignals; i++) {
    sleep_ms(kEvery);
    pthread_kill(plan->target, SIGRTMIN);
  }
  sleep_ms(kEvery);
  if (plan->then) plan->then(plan->argument);
  return NULL;
}

static struct Plan plan;
static pthread_t helper_thread;

static void begin(int flags, void (*then)(int), int argument) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
  sigaction(SIGRTMIN, &action, NULL);
  atomic_store(&handled, 0);
  plan = (struct Plan){pthread_self(), then, argument};
  must(pthread_create(&helper_thread, NULL, helper, &plan) == 0, "pthread_create");
}

static void end(const char* what, int flags, long got) {
  const int error = errno;
  pthread_join(helper_thread, NULL);
  show(what, "%s: %ld%s%s, handled %d", flags ? "SA_RESTART" : "plain", got, got == -1 ? " " : "", got == -1 ? strerrorname_np(error) : "",
       atomic_load(&handled));
}

static void write_byte(int fd) { must(write(fd, "x", 1) == 1, "write"); }
static void post(int fd) {
  const uint64_t one = 1;
  must(write(fd, &one, 8) == 8, "eventfd");
}
static sem_t sem;
static void post_sem(int unused) {
  (void)unused;
  sem_post(&sem);
}

static void pipes(int flags) {
  int fds[2];
  char byte;
  must(pipe(fds) == 0, "pipe");
  begin(flags, write_byte, fds[1]);
  end("read of a pipe", flags, read(fds[0], &byte, 1));
  close(fds[0]);
  close(fds[1]);
}

// Empties the pipe until nothing has come for a while (an interrupted writer sends no more).
static void drain(int fd) {
  static char buffer[1 << 16];
  fcntl(fd, F_SETFL, O_NONBLOCK);
  for (int idle = 0; idle < 20; idle++) {
    while (read(fd, buffer, sizeof buffer) > 0) idle = 0;
    sleep_ms(10);
  }
}

static void full_pipe(int flags) {
  int fds[2];
  static char data[1 << 17];
  must(pipe(fds) == 0 && fcntl(fds[1], F_SETPIPE_SZ, 1 << 16) > 0, "pipe");
  must(write(fds[1], data, 1 << 16) == 1 << 16, "fill");
  begin(flags, drain, fds[0]);
  end("write to a full pipe", flags, write(fds[1], data, 1 << 16));
  close(fds[1]);
  close(fds[0]);
}

static void sockets(int flags) {
  int fds[2];
  char byte;
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "socketpair");
  begin(flags, write_byte, fds[1]);
  end("recv", flags, recv(fds[0], &byte, 1, 0));
  recv(fds[0], &byte, 1, MSG_DONTWAIT);
  begin(flags, write_byte, fds[1]);
  struct iovec vector = {&byte, 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  end("recvmsg", flags, recvmsg(fds[0], &message, 0));
  recv(fds[0], &byte, 1, MSG_DONTWAIT);
  const struct timeval limit = {20, 0};
  setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  begin(flags, write_byte, fds[1]);
  end("recv with SO_RCVTIMEO", flags, recv(fds[0], &byte, 1, 0));
  close(fds[0]);
  close(fds[1]);
}

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static void connect_to(int unused) {
  (void)unused;
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  must(connect(fd, (struct sockaddr*)&address, sizeof address) == 0, "connect");
  close(fd);
}

static void accepting(int flags) {
  snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "km-test-%d", getpid());
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  must(bind(fd, (struct sockaddr*)&address, sizeof address) == 0 && listen(fd, 4) == 0, "listen");
  begin(flags, connect_to, 0);
  const int got = accept(fd, NULL, NULL);
  end("accept", flags, got < 0 ? -1 : 0);
  if (got >= 0) close(got);
  close(fd);
}

static void polling(int flags) {
  const int fd = eventfd(0, 0), set = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
  struct pollfd one = {fd, POLLIN, 0};
  begin(flags, NULL, 0);
  end("poll", flags, poll(&one, 1, 20000));
  begin(flags, NULL, 0);
  end("ppoll", flags, ppoll(&one, 1, NULL, NULL));
  begin(flags, NULL, 0);
  end("epoll_wait", flags, epoll_wait(set, &event, 1, 20000));
  fd_set reading;
  FD_ZERO(&reading);
  FD_SET(fd, &reading);
  begin(flags, NULL, 0);
  end("select", flags, select(fd + 1, &reading, NULL, NULL, NULL));
  uint64_t value;
  begin(flags, post, fd);
  end("read of an eventfd", flags, read(fd, &value, 8));
  close(set);
  close(fd);
}

static void sleeping(int flags) {
  struct timespec wish = {20, 0}, left = {0, 0};
  begin(flags, NULL, 0);
  end("nanosleep", flags, nanosleep(&wish, &left));
  check(left.tv_sec >= 10 && left.tv_sec < 20, "nanosleep tells what is left");
  begin(flags, NULL, 0);
  const int relative = clock_nanosleep(CLOCK_MONOTONIC, 0, &wish, &left);
  end(relative ? strerrorname_np(relative) : "0", flags, 0);
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += 20;
  begin(flags, NULL, 0);
  const int absolute = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
  end(absolute ? strerrorname_np(absolute) : "0", flags, 0);
}

static void semaphores(int flags) {
  sem_init(&sem, 0, 0);
  begin(flags, post_sem, 0);
  end("sem_wait", flags, sem_wait(&sem));
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 20;
  sem_init(&sem, 0, 0);
  begin(flags, post_sem, 0);
  end("sem_timedwait", flags, sem_timedwait(&sem, &until));
}

static void children(int flags) {
  begin(flags, NULL, 0);
  const pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    sleep_ms(kThen + 100);
    _exit(7);
  }
  int status = -1;
  const long got = waitpid(child, &status, 0);
  end("waitpid", flags, got == child ? WEXITSTATUS(status) : got);
  if (got != child) waitpid(child, &status, 0);
}

static void locks(int flags) {
  char name[] = "/tmp/km-restart-XXXXXX";
  const int fd = mkstemp(name);
  must(fd >= 0, "mkstemp");
  int ready[2];
  must(pipe(ready) == 0, "pipe");
  const pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    const int own = open(name, O_RDWR);
    flock(own, LOCK_EX);
    write_byte(ready[1]);
    sleep_ms(kThen + 200);
    _exit(0);
  }
  char byte;
  must(read(ready[0], &byte, 1) == 1, "child's lock");
  begin(flags, NULL, 0);
  end("flock", flags, flock(fd, LOCK_EX));
  waitpid(child, NULL, 0);
  unlink(name);
  close(fd);
  close(ready[0]);
  close(ready[1]);
}

int main(void) {
  static const int kFlags[] = {0, SA_RESTART};
  for (int i = 0; i < 2; i++) {
    pipes(kFlags[i]);
    full_pipe(kFlags[i]);
    sockets(kFlags[i]);
    accepting(kFlags[i]);
    polling(kFlags[i]);
    sleeping(kFlags[i]);
    semaphores(kFlags[i]);
    children(kFlags[i]);
    locks(kFlags[i]);
  }
  return finish();
}
