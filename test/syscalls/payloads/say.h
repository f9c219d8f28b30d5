// SPDX-License-Identifier: Apache-2.0
// Each payload makes system calls by number and prints what came back, so that a run under km can be compared with a
// native one line by line. What differs from run to run (descriptor numbers aside: pids, times, addresses) is printed
// as "ok".
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static inline void line(const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(text, sizeof text - 1, format, args);
  va_end(args);
  if (n > (int)sizeof text - 2) n = sizeof text - 2;
  text[n++] = '\n';
  if (write(1, text, n) != n) _exit(99);
}

static inline long say(const char *what, long result) {
  if (result == -1) line("%s: %s", what, strerrorname_np(errno));
  else line("%s = %ld", what, result);
  return result;
}

static inline long say_ok(const char *what, long result) {
  if (result == -1) line("%s: %s", what, strerrorname_np(errno));
  else line("%s ok", what);
  return result;
}

#define RAW(call, ...) syscall(SYS_##call, ##__VA_ARGS__)
/// Prints the result.
#define DO(call, ...) say(#call, RAW(call, ##__VA_ARGS__))
/// Prints only whether it succeeded.
#define OK(call, ...) say_ok(#call, RAW(call, ##__VA_ARGS__))
/// The same with a remark.
#define DOR(remark, call, ...) say(#call " (" remark ")", RAW(call, ##__VA_ARGS__))
#define OKR(remark, call, ...) say_ok(#call " (" remark ")", RAW(call, ##__VA_ARGS__))

/// The same two for ioctl(2), by the command's name.
#define COMMAND(fd, command, argument) say(#command, RAW(ioctl, fd, command, argument))
#define COMMAND_OK(fd, command, argument) say_ok(#command, RAW(ioctl, fd, command, argument))

static inline int wait_for(pid_t pid) {
  int status = -1;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

/// Runs `body` in a child and prints how it ended.
static inline void in_child(const char *what, void (*body)(void)) {
  pid_t pid = fork();
  if (pid == 0) {
    body();
    _exit(0);
  }
  int status = wait_for(pid);
  if (WIFSIGNALED(status)) line("%s: child died of %s", what, strsignal(WTERMSIG(status)));
  else line("%s: child exited with %d", what, WEXITSTATUS(status));
}
