// SPDX-License-Identifier: Apache-2.0
// Programs that exec after they gave something up: the user, then (linked statically) the root directory as well, where
// neither a device nor /proc can be opened any more. Needs root for the giving up; else only the plain execs are seen.
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "report.h"

enum { NOBODY = 65534 };

static char self[4096];

static int reap(pid_t child) {
  int status = 0;
  must(waitpid(child, &status, 0) == child, "waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void give_up_user(void) {
  if (getuid() != 0) return;
  must(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "setuid");
}

static void run(const char* program, const char* left) {
  char stage[16];
  snprintf(stage, sizeof stage, "%s", left);
  char* args[] = {(char*)program, stage, NULL};
  execv(program, args);
  printf("exec of the program: %s\n", strerrorname_np(errno));
  _exit(3);
}

/// What runs after an exec: says who it is, forks and execs again until `left` is used up.
static int stage(const char* program, int left) {
  show("a program after exec, left", "%d", left);
  show("user", "%d", getuid() == 0 ? 0 : getuid() == NOBODY);
  if (left == 0) return 4;
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    char next[16];
    snprintf(next, sizeof next, "%d", left - 1);
    run(program, next);
  }
  show("its child", "%d", reap(child));
  return 4;
}

/// A folder with nothing in it but this program.
static void make_root(const char* folder) {
  char path[128], buffer[65536];
  snprintf(path, sizeof path, "%s/program", folder);
  const int in = open(self, O_RDONLY | O_CLOEXEC), out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
  must(in >= 0 && out >= 0 && chmod(folder, 0755) == 0 && fchmod(out, 0755) == 0, "copy");
  ssize_t n;
  while ((n = read(in, buffer, sizeof buffer)) > 0) must(write(out, buffer, (size_t)n) == n, "write");
  close(in);
  close(out);
}

static void without_root_directory(void) {
  char folder[] = "/tmp/km-confined-XXXXXX", path[128];
  must(mkdtemp(folder) != NULL, "mkdtemp");
  make_root(folder);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    must(chroot(folder) == 0 && chdir("/") == 0, "chroot");
    give_up_user();
    run("/program", "2");
  }
  show("without a root directory", "%d", reap(child));
  snprintf(path, sizeof path, "%s/program", folder);
  unlink(path);
  rmdir(folder);
}

int main(int argc, char** argv) {
  if (argc > 1) return stage(argv[0], atoi(argv[1]));
  const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  must(length > 0, "readlink");
  self[length] = 0;
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    // Opened before: as another user the path may be out of reach.
    const int fd = open(self, O_RDONLY);
    give_up_user();
    char* args[] = {self, "0", NULL};
    fexecve(fd, args, environ);
    _exit(3);
  }
  show("as another user", "%d", reap(child));
  if (getuid() == 0 && getauxval(AT_BASE) == 0) without_root_directory();
  return finish();
}
