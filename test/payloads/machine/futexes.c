// SPDX-License-Identifier: Apache-2.0
// futex(2) itself, operation by operation, private and shared.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "report.h"

static long futex(uint32_t* word, int op, uint32_t value, const struct timespec* timeout, uint32_t* word2, uint32_t value3) {
  return syscall(SYS_futex, word, op, value, timeout, word2, value3);
}

static uint32_t word, other;
static atomic_int woken, waiting;

static void* waiter(void* arg) {
  atomic_fetch_add(&waiting, 1);
  while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0) {
    const struct timespec limit = {20, 0};
    if (futex(&word, FUTEX_WAIT_PRIVATE, 0, &limit, NULL, 0) == 0) break;
    if (errno == ETIMEDOUT) return (void*)1;
  }
  atomic_fetch_add(&woken, 1);
  return arg;
}

static void start_waiters(pthread_t* threads, int n) {
  word = other = 0;
  atomic_store(&woken, 0);
  atomic_store(&waiting, 0);
  for (int i = 0; i < n; i++) must(pthread_create(&threads[i], NULL, waiter, NULL) == 0, "pthread_create");
  while (atomic_load(&waiting) < n) sched_yield();
  sleep_ms(100);
}

static void join_all(pthread_t* threads, int n) {
  for (int i = 0; i < n; i++) pthread_join(threads[i], NULL);
}

static void wake_and_requeue(void) {
  pthread_t threads[6];
  start_waiters(threads, 6);
  result("wake 2 of 6", futex(&word, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0));
  result("cmp_requeue with a wrong value", futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void*)1, &other, 5));
  result("cmp_requeue wakes 1 and moves 1", futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void*)1, &other, 0));
  result("wake the moved one", futex(&other, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0));
  result("wake the others", futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0));
  join_all(threads, 6);
  result("wake nobody", futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0));
  show("woken", "%d", atomic_load(&woken));
  start_waiters(threads, 2);
  const uint32_t add_one = FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 41);
  other = 41;
  result("wake_op", futex(&word, FUTEX_WAKE_OP_PRIVATE, 2, (void*)1, &other, add_one));
  show("wake_op changed the second word to", "%u", other);
  join_all(threads, 2);
}

static void errors(void) {
  const struct timespec none = {0, 0}, soon = {0, 10000000}, wrong = {0, 2000000000};
  uint32_t mine = 5;
  result("wait, other value", futex(&mine, FUTEX_WAIT, 4, NULL, NULL, 0));
  result("wait, zero timeout", futex(&mine, FUTEX_WAIT, 5, &none, NULL, 0));
  const long start = now_ms();
  result("wait, 10 ms", futex(&mine, FUTEX_WAIT_PRIVATE, 5, &soon, NULL, 0));
  check(now_ms() - start >= 10, "it took 10 ms");
  result("wait, bad timeout", futex(&mine, FUTEX_WAIT, 5, &wrong, NULL, 0));
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  at.tv_sec -= 1;
  result("wait_bitset, past realtime", futex(&mine, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 5, &at, NULL, 1));
  result("wait_bitset, no bits", futex(&mine, FUTEX_WAIT_BITSET, 5, NULL, NULL, 0));
  result("wait, unaligned", futex((uint32_t*)((char*)&mine + 1), FUTEX_WAIT, 5, NULL, NULL, 0));
  result("wait, null", futex(NULL, FUTEX_WAIT, 5, NULL, NULL, 0));
  result("wait, kernel address", futex((uint32_t*)0xffff800000000000, FUTEX_WAIT, 5, NULL, NULL, 0));
  result("wait, bad timeout pointer", futex(&mine, FUTEX_WAIT, 5, (void*)8, NULL, 0));
  result("unknown operation", futex(&mine, 77, 5, NULL, NULL, 0));
}

static void on_signal(int signo) { (void)signo; }

static void* interrupter(void* arg) {
  sleep_ms(50);
  pthread_kill(*(pthread_t*)arg, SIGUSR1);
  return NULL;
}

static void interrupted(void) {
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGUSR1, &action, NULL);
  pthread_t self = pthread_self(), thread;
  uint32_t mine = 0;
  pthread_create(&thread, NULL, interrupter, &self);
  result("wait, interrupted", futex(&mine, FUTEX_WAIT, 0, NULL, NULL, 0));
  pthread_join(thread, NULL);
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, NULL);
  const struct timespec limit = {0, 150000000};
  pthread_create(&thread, NULL, interrupter, &self);
  result("timed wait, interrupted in spite of SA_RESTART", futex(&mine, FUTEX_WAIT, 0, &limit, NULL, 0));
  pthread_join(thread, NULL);
}

static void shared_mapping(const char* name, uint32_t* shared) {
  must(shared != MAP_FAILED, name);
  shared[0] = shared[1] = 0;
  const pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    __atomic_store_n(&shared[1], 1, __ATOMIC_SEQ_CST);
    const struct timespec limit = {20, 0};
    long got = 0;
    while (__atomic_load_n(&shared[0], __ATOMIC_SEQ_CST) == 0 && got == 0) got = futex(&shared[0], FUTEX_WAIT, 0, &limit, NULL, 0);
    _exit(__atomic_load_n(&shared[0], __ATOMIC_SEQ_CST) == 7 ? 3 : 4);
  }
  while (__atomic_load_n(&shared[1], __ATOMIC_SEQ_CST) == 0) sched_yield();
  sleep_ms(50);
  __atomic_store_n(&shared[0], 7, __ATOMIC_SEQ_CST);
  const long n = futex(&shared[0], FUTEX_WAKE, 1, NULL, NULL, 0);
  int status;
  waitpid(child, &status, 0);
  show(name, "woken %ld, child's status %d", n, WEXITSTATUS(status));
}

static void private_across_fork(void) {
  uint32_t* words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(words != MAP_FAILED, "mmap");
  const pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    const struct timespec limit = {0, 200000000};
    const long got = futex(words, FUTEX_WAIT, 0, &limit, NULL, 0);
    _exit(got == -1 && errno == ETIMEDOUT ? 0 : 1);
  }
  sleep_ms(50);
  const long n = futex(words, FUTEX_WAKE, 1, NULL, NULL, 0);
  int status;
  waitpid(child, &status, 0);
  show("private words of two processes", "woken %ld, child's status %d", n, WEXITSTATUS(status));
}

static void* pi_contender(void* arg) {
  uint32_t* lock = arg;
  const uint32_t me = (uint32_t)gettid();
  uint32_t free_word = 0;
  if (!__atomic_compare_exchange_n(lock, &free_word, me, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    if (futex(lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0) != 0) return (void*)1;
  }
  if ((__atomic_load_n(lock, __ATOMIC_SEQ_CST) & FUTEX_TID_MASK) != me) return (void*)2;
  uint32_t expected = me;
  if (__atomic_compare_exchange_n(lock, &expected, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return (void*)0;
  return (void*)(futex(lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0) == 0 ? 0L : 3L);
}

// The kernel writes thread ids into the word: they must be the ones gettid() says.
static void priority_inheritance(void) {
  uint32_t lock = (uint32_t)gettid();
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) must(pthread_create(&threads[i], NULL, pi_contender, &lock) == 0, "pthread_create");
  while ((__atomic_load_n(&lock, __ATOMIC_SEQ_CST) & FUTEX_WAITERS) == 0) sched_yield();
  result("unlock_pi", futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
  long wrong = 0;
  for (int i = 0; i < 4; i++) {
    void* value;
    pthread_join(threads[i], &value);
    wrong += (long)value;
  }
  show("pi", "wrong %ld, word %u", wrong, lock);
  lock = (uint32_t)gettid();
  result("lock_pi of one's own", futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
  result("trylock_pi of one's own", futex(&lock, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
  lock = 1;
  result("unlock_pi of another's", futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
}

int main(void) {
  errors();
  wake_and_requeue();
  interrupted();
  shared_mapping("shared anonymous", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const int fd = memfd_create("futex", MFD_CLOEXEC);
  must(fd >= 0 && ftruncate(fd, 4096) == 0, "memfd_create");
  shared_mapping("shared file", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  private_across_fork();
  priority_inheritance();
  return finish();
}
