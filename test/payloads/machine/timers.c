// SPDX-License-Identifier: Apache-2.0
// Everything that fires: interval timers, POSIX timers with each kind of notification, alarm, timer descriptors.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "report.h"

static atomic_int fired;
static siginfo_t info;
static atomic_int fired_in, most_overruns;

static void on_timer(int signo, siginfo_t* si, void* context) {
  (void)signo;
  (void)context;
  info = *si;
  if (si->si_code == SI_TIMER && si->si_overrun > atomic_load(&most_overruns)) atomic_store(&most_overruns, si->si_overrun);
  atomic_store(&fired_in, gettid());
  atomic_fetch_add(&fired, 1);
}

static void install(int signo) {
  struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigaction(signo, &action, NULL);
  atomic_store(&fired, 0);
}

static int spin_until(const atomic_int* count, int enough, long limit_ms) {
  const long end = now_ms() + limit_ms;
  while (atomic_load(count) < enough && now_ms() < end) {
    for (volatile int i = 0; i < 100000; i++) {
    }
  }
  return atomic_load(count) >= enough;
}

static void interval(const char* name, int which, int signo) {
  install(signo);
  struct itimerval every = {{0, 5000}, {0, 5000}}, stop = {{0, 0}, {0, 0}}, now;
  must(setitimer(which, &every, NULL) == 0, "setitimer");
  const int enough = spin_until(&fired, 5, 20000);
  must(setitimer(which, &stop, &now) == 0, "setitimer");
  show(name, "five times %d, code %d, interval %ld us", enough, info.si_code, now.it_interval.tv_usec);
}

static void alarms(void) {
  install(SIGALRM);
  show("alarm", "%u", alarm(100));
  show("alarm again", "%u", alarm(1));
  const long start = now_ms();
  pause();
  check(now_ms() - start >= 900, "it took its second");
  show("alarm fired", "%d", atomic_load(&fired));
  struct itimerval bad = {{0, 0}, {0, 2000000}};
  result("bad interval", setitimer(ITIMER_REAL, &bad, NULL));
  result("bad clock", setitimer(9, &bad, NULL));
}

static void posix_signal(clockid_t clock, const char* name) {
  install(SIGRTMIN + 2);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2, .sigev_value.sival_int = 99};
  timer_t timer;
  if (result(name, timer_create(clock, &event, &timer)) != 0) return;
  struct itimerspec every = {{0, 3000000}, {0, 3000000}}, now;
  timer_settime(timer, 0, &every, NULL);
  const int enough = spin_until(&fired, 4, 20000);
  timer_gettime(timer, &now);
  show("fired", "%d, code %d, value %d, interval %ld ns", enough, info.si_code, info.si_value.sival_int, now.it_interval.tv_nsec);
  result("timer_delete", timer_delete(timer));
  result("timer_delete twice", timer_delete(timer));
}

static void posix_overrun(void) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR1);
  install(SIGUSR1);
  sigprocmask(SIG_BLOCK, &one, NULL);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  timer_t timer;
  must(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer_create");
  struct itimerspec every = {{0, 1000000}, {0, 1000000}};
  timer_settime(timer, 0, &every, NULL);
  sleep_ms(60);
  sigprocmask(SIG_UNBLOCK, &one, NULL);
  timer_delete(timer);
  check(atomic_load(&most_overruns) >= 20, "missed ticks are counted as overruns");
}

// Not `fired`: a last one may come after timer_delete(), in a test that follows.
static atomic_int notified;
static void thread_notify(union sigval value) { atomic_fetch_add(&notified, value.sival_int); }

static void posix_thread(void) {
  struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = thread_notify, .sigev_value.sival_int = 1};
  timer_t timer;
  must(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer_create");
  struct itimerspec every = {{0, 5000000}, {0, 5000000}};
  timer_settime(timer, 0, &every, NULL);
  check(spin_until(&notified, 3, 20000), "SIGEV_THREAD runs its function");
  timer_delete(timer);
}

static atomic_int target_tid, stop;
static void* target(void* arg) {
  (void)arg;
  atomic_store(&target_tid, gettid());
  while (!atomic_load(&stop)) sleep_ms(1);
  return NULL;
}

static void posix_thread_id(void) {
  pthread_t thread;
  must(pthread_create(&thread, NULL, target, NULL) == 0, "pthread_create");
  while (atomic_load(&target_tid) == 0) sleep_ms(1);
  install(SIGUSR2);
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
  event._sigev_un._tid = atomic_load(&target_tid);
  timer_t timer;
  must(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer_create");
  struct itimerspec once = {{0, 0}, {0, 5000000}};
  timer_settime(timer, 0, &once, NULL);
  check(spin_until(&fired, 1, 20000), "SIGEV_THREAD_ID fires");
  check(atomic_load(&fired_in) == atomic_load(&target_tid), "in the thread it names");
  atomic_store(&stop, 1);
  pthread_join(thread, NULL);
  timer_delete(timer);
}

static void descriptors(void) {
  const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  succeeds("timerfd_create", fd);
  uint64_t ticks = 0;
  result("read before it is set", read(fd, &ticks, 8));
  struct itimerspec every = {{0, 10000000}, {0, 10000000}}, now;
  result("timerfd_settime", timerfd_settime(fd, 0, &every, NULL));
  sleep_ms(55);
  result("read", read(fd, &ticks, 8));
  check(ticks >= 5, "five ticks or more");
  struct pollfd one = {fd, POLLIN, 0};
  result("poll", poll(&one, 1, 5000));
  result("timerfd_gettime", timerfd_gettime(fd, &now));
  show("interval", "%ld ns", now.it_interval.tv_nsec);
  struct timespec past;
  clock_gettime(CLOCK_MONOTONIC, &past);
  struct itimerspec absolute = {{0, 0}, past};
  timerfd_settime(fd, TFD_TIMER_ABSTIME, &absolute, NULL);
  result("read, absolute in the past", poll(&one, 1, 1000) == 1 ? read(fd, &ticks, 8) : -1);
  show("ticks", "%lu", (unsigned long)ticks);
  result("short read", read(fd, &ticks, 4));
  result("bad clock", timerfd_create(77, 0));
  result("bad descriptor", timerfd_settime(0, 0, &every, NULL));
  close(fd);
}

int main(void) {
  interval("ITIMER_REAL", ITIMER_REAL, SIGALRM);
  interval("ITIMER_VIRTUAL", ITIMER_VIRTUAL, SIGVTALRM);
  interval("ITIMER_PROF", ITIMER_PROF, SIGPROF);
  alarms();
  posix_signal(CLOCK_REALTIME, "CLOCK_REALTIME");
  posix_signal(CLOCK_MONOTONIC, "CLOCK_MONOTONIC");
  posix_signal(CLOCK_PROCESS_CPUTIME_ID, "CLOCK_PROCESS_CPUTIME_ID");
  posix_signal(99, "no such clock");
  posix_overrun();
  posix_thread();
  posix_thread_id();
  descriptors();
  return finish();
}
