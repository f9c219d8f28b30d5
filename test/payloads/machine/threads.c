// SPDX-License-Identifier: Apache-2.0
// Threads in numbers: 270 alive at once, created and joined in waves, thread-local storage, keys, cancellation,
// stacks of a chosen size, detached threads, and ids that are handed out again.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "report.h"

enum { kAlive = 270, kSequential = 300 };

static __thread int tls_zero;
static __thread int tls_value = 17;
static pthread_barrier_t all_started;
static pthread_key_t key;
static atomic_int destroyed;

static void key_destroyed(void* value) { atomic_fetch_add(&destroyed, (int)(intptr_t)value > 0); }

static void* wave_member(void* arg) {
  const intptr_t index = (intptr_t)arg;
  if (tls_zero != 0 || tls_value != 17) return (void*)-1;
  tls_value = (int)index;
  tls_zero = 1;
  pthread_setspecific(key, (void*)(index + 1));
  pthread_barrier_wait(&all_started);
  // Everybody is alive here: own storage must still be one's own.
  for (int i = 0; i < 20; i++) sched_yield();
  if (tls_value != index || (intptr_t)pthread_getspecific(key) != index + 1) return (void*)-1;
  return (void*)(index * 2);
}

static void wave(int round) {
  static pthread_t threads[kAlive];
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 64 * 1024);
  pthread_barrier_init(&all_started, NULL, kAlive);
  atomic_store(&destroyed, 0);
  int created = 0;
  for (intptr_t i = 0; i < kAlive; i++) created += pthread_create(&threads[i], &attr, wave_member, (void*)i) == 0;
  must(created == kAlive, "pthread_create");
  long sum = 0;
  int wrong = 0;
  for (int i = 0; i < kAlive; i++) {
    void* value;
    pthread_join(threads[i], &value);
    if (value == (void*)-1) wrong++;
    sum += (long)value;
  }
  pthread_barrier_destroy(&all_started);
  show("wave", "%d: created %d, sum %ld, wrong %d, keys destroyed %d", round, created, sum, wrong, atomic_load(&destroyed));
}

static void* short_lived(void* arg) {
  volatile char stack[16 * 1024];
  for (size_t i = 0; i < sizeof stack; i += 4096) stack[i] = 1;
  return (void*)((intptr_t)arg + stack[0]);
}

static void sequential(void) {
  long sum = 0;
  for (intptr_t i = 0; i < kSequential; i++) {
    pthread_t thread;
    must(pthread_create(&thread, NULL, short_lived, (void*)i) == 0, "pthread_create in sequence");
    void* value;
    pthread_join(thread, &value);
    sum += (long)value;
  }
  show("one after another", "%d, sum %ld", kSequential, sum);
}

static atomic_int detached_done;
static void* detached(void* arg) {
  (void)arg;
  atomic_fetch_add(&detached_done, 1);
  return NULL;
}

static void detached_threads(void) {
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  int created = 0;
  for (int i = 0; i < 50; i++) {
    pthread_t thread;
    created += pthread_create(&thread, &attr, detached, NULL) == 0;
  }
  for (int i = 0; i < 5000 && atomic_load(&detached_done) < created; i++) sleep_ms(1);
  show("detached", "%d of %d", atomic_load(&detached_done), created);
}

static void cleanup(void* arg) { atomic_fetch_add((atomic_int*)arg, 1); }

static void* sleeper(void* arg) {
  pthread_cleanup_push(cleanup, arg);
  for (;;) sleep(100);
  pthread_cleanup_pop(0);
  return NULL;
}

static void* spinner(void* arg) {
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
  atomic_store((atomic_int*)arg, 1);
  for (volatile long i = 0;; i++) {
  }
  return NULL;
}

static void cancellation(void) {
  atomic_int cleaned = 0, spinning = 0;
  pthread_t thread;
  void* value;
  must(pthread_create(&thread, NULL, sleeper, &cleaned) == 0, "pthread_create sleeper");
  sleep_ms(20);
  pthread_cancel(thread);
  pthread_join(thread, &value);
  show("cancelled in sleep", "%s, cleanups %d", value == PTHREAD_CANCELED ? "yes" : "no", atomic_load(&cleaned));
  must(pthread_create(&thread, NULL, spinner, &spinning) == 0, "pthread_create spinner");
  while (atomic_load(&spinning) == 0) sched_yield();
  pthread_cancel(thread);
  pthread_join(thread, &value);
  show("cancelled while spinning", "%s", value == PTHREAD_CANCELED ? "yes" : "no");
}

static void* identity(void* arg) {
  pid_t* ids = arg;
  ids[0] = getpid();
  ids[1] = (pid_t)syscall(SYS_gettid);
  ids[2] = gettid();
  return NULL;
}

static void identities(void) {
  pid_t ids[3];
  pthread_t thread;
  must(pthread_create(&thread, NULL, identity, ids) == 0, "pthread_create identity");
  pthread_join(thread, NULL);
  check(gettid() == getpid(), "the main thread's id is the process id");
  check(ids[0] == getpid(), "a thread sees the same process id");
  check(ids[1] != getpid() && ids[1] == ids[2], "a thread has an id of its own");
  // pthread_join returns a moment before the kernel forgets the thread.
  long gone = 0;
  for (int i = 0; i < 2000 && !gone; i++) {
    gone = syscall(SYS_tgkill, getpid(), ids[1], 0) == -1 && errno == ESRCH;
    if (!gone) sleep_ms(1);
  }
  check(gone, "an ended thread cannot be signalled");
}

static void* big_stack(void* arg) {
  const size_t bytes = (size_t)arg;
  volatile char* memory = __builtin_alloca(bytes);
  long sum = 0;
  for (size_t i = 0; i < bytes; i += 4096) {
    memory[i] = 1;
    sum += memory[i];
  }
  return (void*)sum;
}

static void stacks(void) {
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 32 << 20);
  pthread_t thread;
  void* value;
  must(pthread_create(&thread, &attr, big_stack, (void*)(size_t)(31 << 20)) == 0, "pthread_create big stack");
  pthread_join(thread, &value);
  show("pages of a 32 MiB stack touched", "%ld", (long)value);
}

int main(void) {
  pthread_key_create(&key, key_destroyed);
  for (int round = 0; round < 3; round++) wave(round);
  sequential();
  detached_threads();
  cancellation();
  identities();
  stacks();
  check(tls_zero == 0 && tls_value == 17, "the main thread's storage is untouched");
  return finish();
}
