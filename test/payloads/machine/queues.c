// SPDX-License-Identifier: Apache-2.0
// POSIX message queues (mq_overview(7)): order, limits, time limits, notification by signal and by thread, names.
#define _GNU_SOURCE
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "report.h"

static char name[64];
static volatile sig_atomic_t notified, payload_value, code_ok;
static volatile int by_thread;

static void on_message(int signo, siginfo_t* info, void* context) {
  (void)signo, (void)context;
  notified++;
  payload_value = info->si_value.sival_int;
  code_ok = info->si_code == SI_MESGQ && info->si_pid == getpid();
}

static void in_thread(union sigval value) { __atomic_store_n(&by_thread, value.sival_int, __ATOMIC_SEQ_CST); }

static struct timespec in_ms(long ms) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  at.tv_nsec += ms * 1000000;
  at.tv_sec += at.tv_nsec / 1000000000;
  at.tv_nsec %= 1000000000;
  return at;
}

static void order_and_limits(mqd_t queue) {
  char text[64];
  unsigned priority = 99;
  static const struct { const char* text; unsigned priority; } kSent[] = {{"low", 1}, {"high", 9}, {"low too", 1}, {"middle", 5}};
  for (size_t i = 0; i < 4; i++) result("mq_send", mq_send(queue, kSent[i].text, strlen(kSent[i].text), kSent[i].priority));
  struct mq_attr attr = {0};
  result("mq_getattr", mq_getattr(queue, &attr));
  show("attributes", "flags %ld most %ld size %ld now %ld", attr.mq_flags, attr.mq_maxmsg, attr.mq_msgsize, attr.mq_curmsgs);
  struct timespec soon = in_ms(20), never = {0, -1};
  result("full: time runs out", mq_timedsend(queue, "x", 1, 0, &soon));
  result("full: a time that is none", mq_timedsend(queue, "x", 1, 0, &never));
  attr.mq_flags = O_NONBLOCK;
  struct mq_attr old = {.mq_flags = -1};
  result("mq_setattr", mq_setattr(queue, &attr, &old));
  show("before", "%ld", old.mq_flags);
  result("full: at once", mq_send(queue, "x", 1, 0));
  result("longer than allowed", mq_send(queue, text, 33, 0));
  result("priority too high", mq_send(queue, "x", 1, 40000));
  result("room too small", mq_receive(queue, text, 31, &priority));
  for (size_t i = 0; i < 4; i++) {
    memset(text, 0, sizeof text);
    result("mq_receive", mq_receive(queue, text, sizeof text, &priority));
    show("message", "'%s' priority %u", text, priority);
  }
  result("empty: at once", mq_receive(queue, text, sizeof text, NULL));
  attr.mq_flags = 0;
  mq_setattr(queue, &attr, NULL);
  soon = in_ms(20);
  result("empty: time runs out", mq_timedreceive(queue, text, sizeof text, NULL, &soon));
  result("an empty message", mq_send(queue, "", 0, 3));
  result("comes", mq_receive(queue, text, sizeof text, &priority));
}

static void notification(mqd_t queue) {
  char text[64];
  struct sigaction action = {.sa_sigaction = on_message, .sa_flags = SA_SIGINFO};
  sigaction(SIGUSR1, &action, NULL);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 4711};
  result("mq_notify", mq_notify(queue, &event));
  result("twice", mq_notify(queue, &event));
  const pid_t child = fork();
  if (child == 0) _exit(mq_notify(queue, &event) == -1 && errno == EBUSY ? 3 : 4);
  int status = -1;
  waitpid(child, &status, 0);
  show("by another while it is taken", "%d", WEXITSTATUS(status));
  mq_send(queue, "a", 1, 0);
  for (int i = 0; i < 5000 && !notified; i++) sleep_ms(2);
  show("notified", "%d with %d", (int)notified, (int)payload_value);
  check(code_ok, "SI_MESGQ, from this process");
  mq_send(queue, "b", 1, 0);
  show("once only", "%d", (int)notified);
  result("not while there are messages", mq_receive(queue, text, sizeof text, NULL));
  mq_receive(queue, text, sizeof text, NULL);
  struct sigevent none = {.sigev_notify = SIGEV_NONE}, thread = {.sigev_notify = SIGEV_THREAD};
  result("SIGEV_NONE", mq_notify(queue, &none));
  result("taken back", mq_notify(queue, NULL));
  thread.sigev_notify_function = in_thread;
  thread.sigev_value.sival_int = 815;
  result("SIGEV_THREAD", mq_notify(queue, &thread));
  mq_send(queue, "c", 1, 0);
  for (int i = 0; i < 5000 && !__atomic_load_n(&by_thread, __ATOMIC_SEQ_CST); i++) sleep_ms(2);
  show("thread", "%d", by_thread);
  mq_receive(queue, text, sizeof text, NULL);
}

static void* receiver(void* queue) {
  char text[64] = "";
  const ssize_t got = mq_receive(*(mqd_t*)queue, text, sizeof text, NULL);
  return got == 4 && strcmp(text, "wake") == 0 ? queue : NULL;
}

static void waiting(mqd_t queue) {
  pthread_t thread;
  void* good = NULL;
  pthread_create(&thread, NULL, receiver, &queue);
  sleep_ms(20);
  result("to one who waits", mq_send(queue, "wake", 4, 0));
  pthread_join(thread, &good);
  check(good != NULL, "it got the message");
  struct pollfd ready = {.fd = queue, .events = POLLIN | POLLOUT};
  result("poll", poll(&ready, 1, 0));
  show("events", "%x", ready.revents);
  const pid_t child = fork();
  if (child == 0) _exit(mq_send(queue, "child", 5, 2) == 0 ? 0 : 1);
  int status = -1;
  waitpid(child, &status, 0);
  result("poll", poll(&ready, 1, 1000));
  show("events", "%x", ready.revents);
  char text[64] = "";
  result("from a child", mq_receive(queue, text, sizeof text, NULL));
  show("text", "%s", text);
}

int main(void) {
  snprintf(name, sizeof name, "/km-queue-%d", getpid());
  struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 32}, bad = {.mq_maxmsg = -1, .mq_msgsize = 32};
  result("not there", mq_open(name, O_RDWR));
  result("bad attributes", mq_open(name, O_RDWR | O_CREAT, 0600, &bad));
  const mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
  if (queue == -1 && (errno == ENOSYS || errno == EMFILE || errno == ENOSPC)) {
    result("no queues on this machine", -1);
    return finish();
  }
  must(queue >= 0, "mq_open");
  result("there already", mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr));
  result("a slash inside", mq_open("/a/b", O_RDWR | O_CREAT, 0600, &attr));
  order_and_limits(queue);
  notification(queue);
  waiting(queue);
  const mqd_t reader = mq_open(name, O_RDONLY);
  result("sent by a reader", mq_send(reader, "x", 1, 0));
  result("on something else", mq_getattr(1, &attr));
  result("mq_unlink", mq_unlink(name));
  result("again", mq_unlink(name));
  result("still there for who has it", mq_send(queue, "x", 1, 0));
  result("mq_close", mq_close(queue));
  result("closed", mq_send(queue, "x", 1, 0));
  return finish();
}
