// SPDX-License-Identifier: Apache-2.0
// timed STATUS PROGRAM [ARGUMENT...]: prints the nanoseconds from before spawn to after wait.
// It is small, so that the cost of forking the measuring process is the same few microseconds for every row.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char** environ;
static volatile pid_t child;

static void too_long(int signal_number) {
  (void)signal_number;
  if (child > 0) kill(child, SIGKILL);
}

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: timed STATUS PROGRAM [ARGUMENT...]\n");
    return 2;
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  signal(SIGALRM, too_long);
  alarm(60);
  int status = 0;
  pid_t pid = 0;
  const long long start = now();
  const int error = posix_spawnp(&pid, argv[2], &actions, NULL, argv + 2, environ);
  if (error != 0) {
    fprintf(stderr, "%s: %s\n", argv[2], strerror(error));
    return 1;
  }
  child = pid;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return 1;
  const long long took = now() - start;
  if (WIFSIGNALED(status)) {
    fprintf(stderr, "%s: killed by signal %d\n", argv[2], WTERMSIG(status));
    return 1;
  }
  if (WEXITSTATUS(status) != atoi(argv[1])) {
    fprintf(stderr, "%s: ended with %d, not %s\n", argv[2], WEXITSTATUS(status), argv[1]);
    return 1;
  }
  printf("%lld\n", took);
  return 0;
}
