// SPDX-License-Identifier: Apache-2.0
// A vfork child shares its parent's memory, and with it what the monitor remembers; not its descriptors.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/wait.h>

#include "report.h"

static int opens(const char* path) {
  const int fd = open(path, O_RDONLY);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

int main(void) {
  // First of all: nothing of /proc was opened before.
  const pid_t child = vfork();
  if (child == 0) _exit(opens("/proc/self/fd"));
  int status = 0;
  must(waitpid(child, &status, 0) == child, "waitpid");
  show("the child opens its descriptors' folder", "%d", WEXITSTATUS(status));
  check(opens("/proc/self/fd") == 0, "the parent opens its own");
  check(opens("/proc/self/status") == 0, "and its status");
  check(opens("/proc/1/cmdline") == 0, "and another's command line");
  return report_failures != 0;
}
