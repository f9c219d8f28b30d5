// SPDX-License-Identifier: Apache-2.0
#include "native/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "native/base/private_fd.h"

namespace km {
namespace {

constexpr const char* kTraceTags[] = {"vcpu", "kvm",  "kkm",  "mem",  "signals", "proc",
                                      "exec", "fork", "args", "load", "files",   "hypercall"};
static_assert(std::size(kTraceTags) == static_cast<size_t>(Tag::kCount));

constexpr size_t kMaxLine = 2048;
constexpr int kNowhere = -1;

std::atomic<uint32_t> enabled_tags{0};
std::atomic<int> log_fd{STDERR_FILENO};
std::atomic<int> stderr_fd{STDERR_FILENO};
std::atomic<bool> stderr_known{false};
std::atomic<LogTap> log_tap{nullptr};
dev_t stderr_dev;
ino_t stderr_ino;
thread_local char thread_name[16];

/// Line under construction: silently ends where the buffer does, keeping one byte for the newline.
struct Line {
  char text[kMaxLine];
  size_t length = 0;

  void vadd(const char* format, va_list args) {
    size_t room = kMaxLine - 1 - length;
    int wanted = vsnprintf(text + length, room, format, args);
    if (wanted < 0) return;
    size_t added = static_cast<size_t>(wanted) < room ? static_cast<size_t>(wanted) : room - 1;
    length += added;
  }

  [[gnu::format(printf, 2, 3)]] void add(const char* format, ...) {
    va_list args;
    va_start(args, format);
    vadd(format, args);
    va_end(args);
  }

  /// Names in the text may come from the payload: no control character reaches a terminal, no line is forged.
  void finish() {
    for (size_t i = 0; i < length; i++) {
      unsigned char c = static_cast<unsigned char>(text[i]);
      if (c < 0x20 || c == 0x7f) text[i] = '?';
    }
    text[length++] = '\n';
  }
};

/// Is descriptor 2 still the file the user gave the monitor?
bool stderr_is_ours() {
  if (!stderr_known.load(std::memory_order_acquire)) return true;
  struct stat now;
  return fstat(STDERR_FILENO, &now) == 0 && now.st_dev == stderr_dev && now.st_ino == stderr_ino;
}

void write_all(int fd, const Line& line) {
  size_t done = 0;
  while (done < line.length) {
    ssize_t n = write(fd, line.text + done, line.length - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // nobody left to tell
    done += static_cast<size_t>(n);
  }
}

/// A payload must not die of SIGPIPE because the monitor had something to say on a closed stderr.
void write_line(int fd, const Line& line) {
  if (fd == kNowhere) return;
  if (fd == STDERR_FILENO && !stderr_is_ours()) return;
  sigset_t pipe_signal, pending, before;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  sigpending(&pending);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  errno = 0;
  write_all(fd, line);
  const timespec now{};
  if (errno == EPIPE && !sigismember(&pending, SIGPIPE)) sigtimedwait(&pipe_signal, nullptr, &now);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

/// Seconds east of UTC, looked up once: localtime_r takes a lock that a forked child may find held.
long utc_offset(time_t now) {
  static std::atomic<long> cached{-1};
  long offset = cached.load(std::memory_order_relaxed);
  if (offset != -1) return offset;
  struct tm local;
  offset = localtime_r(&now, &local) != nullptr ? local.tm_gmtoff : 0;
  cached.store(offset, std::memory_order_relaxed);
  return offset;
}

void add_time(Line* line) {
  timeval now;
  gettimeofday(&now, nullptr);
  long of_day = (now.tv_sec + utc_offset(now.tv_sec)) % 86400;
  line->add("%02ld:%02ld:%02ld.%06ld", of_day / 3600, of_day / 60 % 60, of_day % 60,
            static_cast<long>(now.tv_usec));
}

void add_thread(Line* line) {
  if (thread_name[0] != '\0') return line->add(" %s ", thread_name);
  pid_t tid = gettid();
  if (tid == getpid()) return line->add(" km ");
  line->add(" tid-%d ", tid);
}

}  // namespace

namespace {

void log_switch(int fd) {
  const int old = log_fd.exchange(fd);
  if (old != stderr_fd && old != STDERR_FILENO && old != kNowhere) close_private_fd(old);
}

}  // namespace

int log_file() {
  const int fd = log_fd;
  return fd == stderr_fd || fd == STDERR_FILENO ? kNowhere : fd;
}

int log_adopt(int fd) {
  const int moved = make_private_fd(fd);
  if (moved < 0) return moved;
  log_switch(moved);
  return 0;
}

int log_open(const char* destination) {
  int fd = kNowhere;
  if (strcmp(destination, "stderr") == 0) {
    fd = stderr_fd;
  } else if (strcmp(destination, "none") != 0) {
    int opened = open(destination, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
    if (opened < 0) return -errno;
    fd = make_private_fd(opened);
    if (fd < 0) {
      close(opened);
      return fd;
    }
  }
  log_switch(fd);
  return 0;
}

void log_remember_stderr() {
  struct stat now;
  if (fstat(STDERR_FILENO, &now) != 0) {
    now.st_dev = 0;  // closed: whatever gets the number later is not ours
    now.st_ino = 0;
  }
  stderr_dev = now.st_dev;
  stderr_ino = now.st_ino;
  stderr_known.store(true, std::memory_order_release);
}

int log_keep_stderr() {
  int copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (copy < 0 && errno != EBADF) return -errno;
  int moved = copy < 0 ? kNowhere : make_private_fd(copy);  // closed from the start: nobody listens
  if (copy >= 0 && moved < 0) {
    close(copy);
    return moved;
  }
  int before = stderr_fd.exchange(moved);
  if (log_fd == before) log_fd = moved;
  return 0;
}

int log_enable(const char* regex) {
  regex_t compiled;
  if (regcomp(&compiled, regex, REG_EXTENDED | REG_ICASE | REG_NOSUB) != 0) return -EINVAL;
  uint32_t bits = 0;
  for (size_t i = 0; i < std::size(kTraceTags); i++) {
    if (regex[0] == '\0' || regexec(&compiled, kTraceTags[i], 0, nullptr, 0) == 0) bits |= 1u << i;
  }
  regfree(&compiled);
  enabled_tags.store(bits, std::memory_order_relaxed);
  return 0;
}

bool log_enabled(Tag tag) {
  return (enabled_tags.load(std::memory_order_relaxed) >> static_cast<unsigned>(tag)) & 1;
}

std::span<const char* const> log_tags() { return kTraceTags; }

void log_set_tap(LogTap tap) { log_tap = tap; }

void log_name_thread(const char* name) { snprintf(thread_name, sizeof(thread_name), "%s", name); }

void log_line(const char* function, int line, const char* format, ...) {
  const int fd = log_fd;
  const LogTap tap = log_tap.load(std::memory_order_relaxed);
  if (fd == kNowhere && tap == nullptr) return;
  int saved_errno = errno;
  Line text;
  add_time(&text);
  text.add(" %-20.20s %4d", function, line);
  add_thread(&text);
  va_list args;
  va_start(args, format);
  text.vadd(format, args);
  va_end(args);
  text.finish();
  const bool taken = tap != nullptr && tap(strcmp(function, "trace") == 0, text.text, text.length);
  if (!taken) write_line(fd, text);
  errno = saved_errno;
}

void complain(const char* format, ...) {
  int saved_errno = errno;
  Line text;
  text.add("km: ");
  va_list args;
  va_start(args, format);
  text.vadd(format, args);
  va_end(args);
  text.finish();
  write_line(stderr_fd, text);
  errno = saved_errno;
}

}  // namespace km
