// SPDX-License-Identifier: Apache-2.0
// bomb fork|threads: makes processes (each of which makes more) or threads until the kernel says no, and keeps them all
// until then. Prints what it said, whether everything ended, whether one more can be made then, and how many there were.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 400 };  // only a limit that does not hold is met by so many

static struct {
  int births;
  int refused;  // errno of the first refusal
  int is_full;
  int failed;  // children that ended otherwise than they should
}* all;

static int is_full(void) { return __atomic_load_n(&all->is_full, __ATOMIC_SEQ_CST); }

static void refuse(int error) {
  int none = 0;
  __atomic_compare_exchange_n(&all->refused, &none, error, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  __atomic_store_n(&all->is_full, 1, __ATOMIC_SEQ_CST);
}

static void born(void) {
  if (__atomic_add_fetch(&all->births, 1, __ATOMIC_SEQ_CST) >= MOST) refuse(EOVERFLOW);
}

/// Every process does this, children of children too.
static void explode(void) {
  while (!is_full()) {
    const pid_t child = fork();
    if (child > 0) born();
    if (child < 0) refuse(errno);
  }
  int status;
  pid_t ended;
  while ((ended = wait(&status)) > 0 || errno == EINTR)
    if (ended > 0 && status != 0) __atomic_add_fetch(&all->failed, 1, __ATOMIC_SEQ_CST);
}

static void* stay(void* unused) {
  while (!is_full()) usleep(1000);
  return unused;
}

static void many_threads(void) {
  static pthread_t threads[MOST + 1];
  int count = 0;
  while (!is_full()) {
    const int error = pthread_create(&threads[count], NULL, stay, NULL);
    if (error != 0) {
      refuse(error);
      break;
    }
    count++;
    born();
  }
  for (int i = 0; i < count; i++)
    if (pthread_join(threads[i], NULL) != 0) all->failed++;
}

static int one_more(int by_fork) {
  pthread_t thread;
  if (!by_fork) return pthread_create(&thread, NULL, stay, NULL) == 0 && pthread_join(thread, NULL) == 0;
  const pid_t child = fork();
  if (child == 0) _exit(3);
  int status = -1;
  return child > 0 && waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 3;
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const int by_fork = strcmp(argv[1], "fork") == 0;
  const pid_t self = getpid();
  all = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) return 3;
  if (by_fork) explode();
  else many_threads();
  if (getpid() != self) _exit(0);
  printf("refused: %s\n", strerrorname_np(all->refused));
  printf("ended otherwise: %d\n", all->failed);
  // The kernel counts a thread for a moment after it was joined.
  int good = 0;
  for (int i = 0; i < 100 && !(good = one_more(by_fork)); i++) usleep(100000);
  printf("one more: %d\n", good);
  printf("births: %d\n", all->births);
  return 0;
}
