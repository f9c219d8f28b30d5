// SPDX-License-Identifier: Apache-2.0
#include "native/manage/report.h"

#include <string.h>
#include <unistd.h>

#include <atomic>

#include "native/base/private_fd.h"

namespace km {
namespace {

int report_fd = -1;
pid_t reporter = 0;

size_t append(char* line, size_t at, size_t size, const char* text) {
  const size_t length = strnlen(text, size - at);
  memcpy(line + at, text, length);
  return at + length;
}

void say(const char* line, size_t length) {
  // A full disk, or nobody who reads: nothing can be done about it here.
  [[maybe_unused]] ssize_t ignored = write(report_fd, line, length);
}

}  // namespace

int report_to(int fd) {
  const int moved = make_private_fd(fd);
  if (moved < 0) return moved;
  report_fd = moved;
  reporter = getpid();
  return 0;
}

void report_started() {
  constexpr char kLine[] = "started\n";
  if (report_fd >= 0) say(kLine, sizeof kLine - 1);
}

void report_no_memory() {
  static std::atomic<bool> said{false};
  constexpr char kLine[] = "no-memory\n";
  if (report_fd >= 0 && !said.exchange(true)) say(kLine, sizeof kLine - 1);
}

void report_signal(int signo) {
  if (report_fd < 0 || getpid() != reporter) return;
  char line[] = "signal 00\n";
  line[7] = static_cast<char>('0' + signo / 10);
  line[8] = static_cast<char>('0' + signo % 10);
  say(line, sizeof line - 1);
}

void report_failure(int status, const char* text) {
  if (report_fd < 0 || getpid() != reporter) return;
  char line[1024];
  const char digit[] = {static_cast<char>('0' + status % 10), ' ', '\0'};
  size_t length = append(line, 0, sizeof line - 1, "failed ");
  length = append(line, length, sizeof line - 1, digit);
  length = append(line, length, sizeof line - 1, text);
  line[length++] = '\n';
  say(line, length);
}

int report_descriptor() { return getpid() == reporter ? report_fd : -1; }

}  // namespace km
