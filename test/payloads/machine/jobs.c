// SPDX-License-Identifier: Apache-2.0
// Sessions, process groups and a terminal of one's own: what a shell needs for job control.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include "report.h"

static void wait_for(pid_t child, const char* what) {
  int status = -1;
  must(waitpid(child, &status, WUNTRACED) == child, "waitpid");
  if (WIFEXITED(status)) {
    show(what, "exited with %d", WEXITSTATUS(status));
  } else if (WIFSIGNALED(status)) {
    show(what, "killed by %s", sigabbrev_np(WTERMSIG(status)));
  } else {
    show(what, "stopped by %s", sigabbrev_np(WSTOPSIG(status)));
  }
}

static void groups(void) {
  int ready[2];
  must(pipe(ready) == 0, "pipe");
  pid_t children[3];
  for (int i = 0; i < 3; i++) {
    children[i] = fork();
    must(children[i] >= 0, "fork");
    if (children[i] == 0) {
      setpgid(0, i == 0 ? 0 : children[0]);
      must(write(ready[1], "x", 1) == 1, "write");
      for (;;) pause();
    }
    setpgid(children[i], children[0]);
  }
  char byte;
  for (int i = 0; i < 3; i++) must(read(ready[0], &byte, 1) == 1, "read");
  check(getpgid(children[2]) == children[0], "children share a group");
  check(getpgid(0) == getpgrp() && getpgrp() != children[0], "it is not ours");
  result("killpg", killpg(children[0], SIGTERM));
  for (int i = 0; i < 3; i++) wait_for(children[i], "member");
  result("killpg of nobody", killpg(children[0], SIGTERM));
  result("group of a stranger", setpgid(1, 1));
  result("group of no one", getpgid(999999));
}

static void session_leader(int slave) {
  check(setsid() == getpid() && getsid(0) == getpid() && getpgrp() == getpid(), "setsid makes leader of both");
  result("setsid again", setsid());
  result("TIOCSCTTY", ioctl(slave, TIOCSCTTY, 0));
  show("foreground group is ours", "%d", tcgetpgrp(slave) == getpgrp());
  const pid_t job = fork();
  if (job == 0) {
    setpgid(0, 0);
    for (;;) pause();
  }
  setpgid(job, job);
  result("tcsetpgrp", tcsetpgrp(slave, job));
  check(tcgetpgrp(slave) == job, "the job is in the foreground");
  // We are in the background now: reading the terminal stops us, unless SIGTTIN is ignored.
  signal(SIGTTIN, SIG_IGN);
  char byte;
  result("background read", read(slave, &byte, 1));
  signal(SIGTTOU, SIG_IGN);
  result("back to the foreground", tcsetpgrp(slave, getpgrp()));
  result("tcsetpgrp again", tcsetpgrp(slave, job));
  fflush(stdout);
  kill(getppid(), SIGUSR1);
  wait_for(job, "job after ^C");
  const pid_t stopped = fork();
  if (stopped == 0) {
    signal(SIGTTIN, SIG_DFL);
    setpgid(0, 0);
    const long n = read(slave, &byte, 1);
    _exit(n == 1 ? 21 : 22);
  }
  tcsetpgrp(slave, getpgrp());
  wait_for(stopped, "background reader");
  kill(stopped, SIGKILL);
  wait_for(stopped, "and then");
  exit(0);
}

static volatile int go;
static void on_go(int signo) {
  (void)signo;
  go = 1;
}

static void terminal(void) {
  int master, slave;
  must(openpty(&master, &slave, NULL, NULL, NULL) == 0, "openpty");
  struct winsize size = {.ws_row = 40, .ws_col = 123}, got = {0};
  result("TIOCSWINSZ", ioctl(master, TIOCSWINSZ, &size));
  result("TIOCGWINSZ", ioctl(slave, TIOCGWINSZ, &got));
  show("size", "%d x %d, tty %d", got.ws_row, got.ws_col, isatty(slave));
  struct termios mode;
  tcgetattr(slave, &mode);
  mode.c_lflag &= ~(tcflag_t)ECHO;
  result("tcsetattr", tcsetattr(slave, TCSANOW, &mode));
  must(write(master, "a line\n", 7) == 7, "write");
  char line[32] = {0};
  result("a line through the terminal", read(slave, line, sizeof line));
  sigset_t usr1, old;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  sigprocmask(SIG_BLOCK, &usr1, &old);
  signal(SIGUSR1, on_go);
  fflush(stdout);
  const pid_t leader = fork();
  must(leader >= 0, "fork");
  if (leader == 0) {
    close(master);
    session_leader(slave);
  }
  while (!go) sigsuspend(&old);
  must(write(master, "\003", 1) == 1, "write ^C");
  wait_for(leader, "session leader");
  close(slave);
  result("read after the last slave is closed", read(master, line, sizeof line));
  close(master);
}

int main(void) {
  groups();
  terminal();
  return finish();
}
