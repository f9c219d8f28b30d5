// SPDX-License-Identifier: Apache-2.0
// Lines that are the same on every correct run: a test compares them, run natively and under km, byte for byte,
// and the checks make a wrong native expectation visible as well (exit status 1).
#pragma once

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int report_failures;

// Whole lines leave at once: a fork never carries half of one along, and a crash loses none.
__attribute__((constructor)) static void report_start(void) { setvbuf(stdout, NULL, _IOLBF, BUFSIZ); }

/// Prints "what: ok" or "what: FAILED"; a failure makes the program exit with 1.
__attribute__((unused)) static void check(int ok, const char* what) {
  printf("%s: %s\n", what, ok ? "ok" : "FAILED");
  if (!ok) report_failures++;
}

/// Prints a value that must not differ between two runs.
__attribute__((unused, format(printf, 2, 3))) static void show(const char* what, const char* format, ...) {
  va_list args;
  va_start(args, format);
  printf("%s: ", what);
  vprintf(format, args);
  printf("\n");
  va_end(args);
}

/// Prints the result of a call that returns -1 and errno on failure.
__attribute__((unused)) static long result(const char* what, long value) {
  const int error = errno;
  if (value == -1) {
    printf("%s: -1 %s\n", what, strerrorname_np(error));
  } else {
    printf("%s: %ld\n", what, value);
  }
  return value;
}

/// As result() for calls whose success value is of no interest (addresses, pids).
__attribute__((unused)) static long succeeds(const char* what, long value) {
  const int error = errno;
  printf("%s: %s\n", what, value == -1 ? strerrorname_np(error) : "done");
  return value;
}

/// For steps the rest depends on.
__attribute__((unused)) static void must(int ok, const char* what) {
  if (ok) return;
  fflush(stdout);
  fprintf(stderr, "cannot go on: %s: %s\n", what, strerror(errno));
  exit(99);
}

/// An address the compiler must neither know nor doubt.
__attribute__((unused)) static void* hidden(const void* address) {
  __asm__("" : "+r"(address));
  return (void*)address;
}

__attribute__((unused)) static long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

__attribute__((unused)) static void sleep_ms(long ms) {
  struct timespec left = {ms / 1000, ms % 1000 * 1000000};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

/// Ends main(): the status tells about failed checks.
__attribute__((unused)) static int finish(void) {
  printf("done\n");
  return report_failures == 0 ? 0 : 1;
}
