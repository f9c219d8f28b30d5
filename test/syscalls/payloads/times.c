// SPDX-License-Identifier: Apache-2.0
// Clocks and timers.
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>

#include "say.h"

static volatile int ticks;
static void tick(int signo) {
  (void)signo;
  ticks++;
}

static void clocks(void) {
  struct timespec ts = {0}, later = {0};
  struct timeval tv;
  long seconds = 0;
  OK(time, &seconds);
  DO(gettimeofday, &tv, NULL);
  line("same second or next %d", tv.tv_sec - seconds <= 1);
  DO(clock_gettime, CLOCK_MONOTONIC, &ts);
  DO(clock_gettime, 99, &ts);
  DO(clock_getres, CLOCK_MONOTONIC, &ts);
  line("resolution %ld", ts.tv_nsec);
  clock_gettime(CLOCK_MONOTONIC, &ts);
  struct timespec nap = {0, 20000000}, rest;
  DO(nanosleep, &nap, &rest);
  DO(clock_nanosleep, CLOCK_MONOTONIC, 0, &nap, NULL);
  clock_gettime(CLOCK_MONOTONIC, &later);
  line("slept %d", (later.tv_sec - ts.tv_sec) * 1000 + (later.tv_nsec - ts.tv_nsec) / 1000000 >= 40);
  nap.tv_nsec = 2000000000;
  DO(nanosleep, &nap, NULL);
  DO(nanosleep, (void *)8, NULL);
}

static void setting(void) {
  struct timex timex = {0};
  OK(adjtimex, &timex);
  memset(&timex, 0, sizeof timex);
  OK(clock_adjtime, CLOCK_REALTIME, &timex);
  struct timespec bad = {0, -1};
  DO(clock_settime, CLOCK_MONOTONIC, &bad);
  struct timeval tv = {0, -1};
  DO(settimeofday, &tv, NULL);
}

static void timers(void) {
  struct sigaction action = {.sa_handler = tick};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval it = {{0, 0}, {0, 10000}}, old;
  ticks = 0;
  DO(setitimer, ITIMER_REAL, &it, NULL);
  while (ticks == 0) usleep(1000);
  DO(getitimer, ITIMER_REAL, &old);
  line("left %ld", (long)old.it_value.tv_usec);
  DO(getitimer, 99, &old);

  sigaction(SIGUSR2, &action, NULL);
  struct { uint64_t value; int signo, notify, tid; char rest[44]; } event = {.signo = SIGUSR2, .notify = SIGEV_SIGNAL};
  int id = -1;
  DO(timer_create, CLOCK_MONOTONIC, &event, &id);
  struct itimerspec its = {{0, 0}, {0, 10000000}}, was;
  ticks = 0;
  DO(timer_settime, id, 0, &its, &was);
  while (ticks == 0) usleep(1000);
  DO(timer_gettime, id, &was);
  line("left %ld", was.it_value.tv_nsec);
  DO(timer_getoverrun, id);
  DO(timer_delete, id);
  DO(timer_delete, id);
  event.notify = 4;  // SIGEV_THREAD_ID
  event.tid = gettid();
  DO(timer_create, CLOCK_MONOTONIC, &event, &id);
  event.notify = 1234;
  DO(timer_create, CLOCK_MONOTONIC, &event, &id);
  DO(timer_create, CLOCK_MONOTONIC, NULL, &id);
}

int main(void) {
  clocks();
  setting();
  timers();
  return 0;
}
