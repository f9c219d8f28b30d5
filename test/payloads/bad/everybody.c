// SPDX-License-Identifier: Apache-2.0
// Kills, then stops, every process it may: its child falls, it goes on itself. Only for a user of its own.
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
  if (getuid() < 10000 || geteuid() < 10000) {
    printf("not as this user\n");
    return 2;
  }
  pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  int killed = kill(-1, SIGKILL), status = 0;
  waitpid(child, &status, 0);
  printf("kill %d, the child's end %d\n", killed, WTERMSIG(status));
  printf("stop %d\n", kill(-1, SIGSTOP));
  printf("nobody but others %d\n", kill(-1, 0));
  printf("went on\n");
  return 0;
}
