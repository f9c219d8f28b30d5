// SPDX-License-Identifier: Apache-2.0
// What the C library builds on futexes: every mutex type, robust ones whose owner dies, priority inheritance,
// condition variables, rwlocks, semaphores; inside one process and shared between two.
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "report.h"

enum { kThreads = 8, kRounds = 2000 };

static struct timespec after_ms(clockid_t clock, long ms) {
  struct timespec at;
  clock_gettime(clock, &at);
  at.tv_nsec += ms * 1000000;
  at.tv_sec += at.tv_nsec / 1000000000;
  at.tv_nsec %= 1000000000;
  return at;
}

static pthread_mutex_t mutex;
static long counter;

static void* count(void* arg) {
  (void)arg;
  for (int i = 0; i < kRounds; i++) {
    pthread_mutex_lock(&mutex);
    counter++;
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

static void contention(const char* name, int type, int protocol) {
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_settype(&attr, type);
  pthread_mutexattr_setprotocol(&attr, protocol);
  const int made = pthread_mutex_init(&mutex, &attr);
  if (made != 0) {
    show(name, "init %s", strerrorname_np(made));
    return;
  }
  pthread_t threads[kThreads];
  counter = 0;
  for (int i = 0; i < kThreads; i++) must(pthread_create(&threads[i], NULL, count, NULL) == 0, "pthread_create");
  for (int i = 0; i < kThreads; i++) pthread_join(threads[i], NULL);
  show(name, "counted %ld", counter);
  pthread_mutex_destroy(&mutex);
}

static void* die_holding(void* arg) {
  pthread_mutex_lock(arg);
  return NULL;
}

static void robust(int protocol, const char* name) {
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_setprotocol(&attr, protocol);
  pthread_mutex_t held;
  pthread_mutex_init(&held, &attr);
  pthread_t thread;
  must(pthread_create(&thread, NULL, die_holding, &held) == 0, "pthread_create");
  pthread_join(thread, NULL);
  const int first = pthread_mutex_lock(&held);
  const int repaired = pthread_mutex_consistent(&held);
  const int unlocked = pthread_mutex_unlock(&held);
  const int again = pthread_mutex_lock(&held);
  show(name, "lock %s, consistent %d, unlock %d, lock %d", first ? strerrorname_np(first) : "0", repaired, unlocked, again);
  pthread_mutex_unlock(&held);
}

struct Shared {
  pthread_mutex_t robust;
  pthread_mutex_t plain;
  pthread_cond_t cond;
  sem_t sem;
  volatile int stage;
};

// A child that ends with the lock held.
static void robust_across_fork(struct Shared* shared) {
  const pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    pthread_mutex_lock(&shared->robust);
    sem_post(&shared->sem);
    while (shared->stage == 0) sleep_ms(1);
    _exit(0);
  }
  sem_wait(&shared->sem);
  show("trylock while a child holds it", "%s", strerrorname_np(pthread_mutex_trylock(&shared->robust)));
  shared->stage = 1;
  waitpid(child, NULL, 0);
  shared->stage = 0;
  const int first = pthread_mutex_lock(&shared->robust);
  show("lock after the child ended", "%s", first ? strerrorname_np(first) : "0");
  pthread_mutex_consistent(&shared->robust);
  pthread_mutex_unlock(&shared->robust);
}

static void ping_pong(struct Shared* shared) {
  const pid_t child = fork();
  must(child >= 0, "fork");
  const int parity = child == 0 ? 1 : 0;
  for (int turn = parity; turn < 100; turn += 2) {
    pthread_mutex_lock(&shared->plain);
    while (shared->stage != turn) pthread_cond_wait(&shared->cond, &shared->plain);
    shared->stage++;
    pthread_cond_broadcast(&shared->cond);
    pthread_mutex_unlock(&shared->plain);
  }
  if (child == 0) _exit(0);
  int status;
  waitpid(child, &status, 0);
  show("turns taken by two processes", "%d, child status %d", shared->stage, status);
}

static void across_processes(void) {
  struct Shared* shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  must(shared != MAP_FAILED, "mmap");
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(&shared->plain, &attr);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&shared->robust, &attr);
  pthread_condattr_t cond_attr;
  pthread_condattr_init(&cond_attr);
  pthread_condattr_setpshared(&cond_attr, PTHREAD_PROCESS_SHARED);
  pthread_cond_init(&shared->cond, &cond_attr);
  sem_init(&shared->sem, 1, 0);
  robust_across_fork(shared);
  ping_pong(shared);
}

static void timeouts(void) {
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
  sem_t sem;
  sem_init(&sem, 0, 0);
  struct timespec at = after_ms(CLOCK_REALTIME, 20);
  const long start = now_ms();
  pthread_mutex_lock(&lock);
  show("cond_timedwait", "%s", strerrorname_np(pthread_cond_timedwait(&cond, &lock, &at)));
  at = after_ms(CLOCK_MONOTONIC, 20);
  show("cond_clockwait", "%s", strerrorname_np(pthread_cond_clockwait(&cond, &lock, CLOCK_MONOTONIC, &at)));
  at = after_ms(CLOCK_REALTIME, 20);
  show("mutex_timedlock", "%s", strerrorname_np(pthread_mutex_timedlock(&lock, &at)));
  at = after_ms(CLOCK_REALTIME, 20);
  result("sem_timedwait", sem_timedwait(&sem, &at));
  check(now_ms() - start >= 78, "the four waits took their time");
  pthread_mutex_unlock(&lock);
}

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static long written;
static atomic_long torn;

static void* reader_writer(void* arg) {
  const long id = (long)arg;
  for (int i = 0; i < 500; i++) {
    if (id % 2 == 0) {
      pthread_rwlock_wrlock(&rwlock);
      written++;
    } else {
      pthread_rwlock_rdlock(&rwlock);
      const long before = written;
      if (*(volatile long*)&written != before) atomic_fetch_add(&torn, 1);
    }
    pthread_rwlock_unlock(&rwlock);
  }
  return NULL;
}

static void readers_writers(void) {
  pthread_t threads[kThreads];
  for (long i = 0; i < kThreads; i++) must(pthread_create(&threads[i], NULL, reader_writer, (void*)i) == 0, "create");
  for (int i = 0; i < kThreads; i++) pthread_join(threads[i], NULL);
  show("rwlock", "written %ld, torn %ld", written, atomic_load(&torn));
}

static void deadlock_checks(void) {
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
  pthread_mutex_t lock;
  pthread_mutex_init(&lock, &attr);
  pthread_mutex_lock(&lock);
  show("errorcheck relock", "%s", strerrorname_np(pthread_mutex_lock(&lock)));
  pthread_mutex_unlock(&lock);
  show("errorcheck unlock twice", "%s", strerrorname_np(pthread_mutex_unlock(&lock)));
}

int main(void) {
  contention("normal", PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE);
  contention("recursive", PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE);
  contention("adaptive", PTHREAD_MUTEX_ADAPTIVE_NP, PTHREAD_PRIO_NONE);
  contention("priority inheritance", PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT);
  robust(PTHREAD_PRIO_NONE, "robust");
  robust(PTHREAD_PRIO_INHERIT, "robust with priority inheritance");
  deadlock_checks();
  timeouts();
  readers_writers();
  across_processes();
  return finish();
}
