// SPDX-License-Identifier: Apache-2.0
// The log: its lines, its destinations, and that it keeps out of files that are the payload's.
#include <errno.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <sys/wait.h>

#include <functional>
#include <thread>

#include "native/base/log.h"
#include "native/base/private_fd.h"
#include "test/native/check.h"
#include "test/native/scratch.h"

using namespace km;

namespace {

/// Runs `body` in a child whose stderr is a pipe; what arrived there. `status`: the child's, if wanted.
std::string stderr_of(const std::function<void()>& body, int* status = nullptr) {
  int pipe_fds[2];
  if (pipe(pipe_fds) != 0) return "pipe";
  pid_t child = fork();
  if (child == 0) {
    dup2(pipe_fds[1], STDERR_FILENO);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    body();
    _exit(0);
  }
  close(pipe_fds[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(pipe_fds[0], buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<size_t>(n));
  close(pipe_fds[0]);
  int ended = 0;
  waitpid(child, &ended, 0);
  if (status != nullptr) *status = ended;
  return text;
}

std::string content(const std::string& path) {
  std::string text;
  FILE* file = fopen(path.c_str(), "re");
  if (file == nullptr) return "(no file)";
  char buffer[65536];
  text.assign(buffer, fread(buffer, 1, sizeof(buffer), file));
  fclose(file);
  return text;
}

bool matches(const std::string& text, const char* pattern) {
  regex_t regex;
  if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0) return false;
  bool good = regexec(&regex, text.c_str(), 0, nullptr, 0) == 0;
  regfree(&regex);
  return good;
}

void test_format() {
  std::string line = stderr_of([] { log_line("short", 7, "hello %d", 42); });
  CHECK_SEEN(matches(line, "^[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\\.[0-9]{6} short {15} +7 km hello 42\n$"),
             line);
  line = stderr_of([] { log_line("a_function_with_a_very_long_name", 1234, "x"); });
  CHECK_SEEN(matches(line, "[0-9] a_function_with_a_ve 1234 km x\n$"), line);
  line = stderr_of([] {
    std::thread([] { log_line("f", 1, "other"); }).join();
    std::thread([] {
      log_name_thread("vcpu-3");
      log_line("f", 1, "named");
    }).join();
  });
  CHECK_SEEN(matches(line, " tid-[0-9]+ other\n") && matches(line, " vcpu-3 named\n"), line);
  line = stderr_of([] { KM_LOG("macro"); });
  CHECK_SEEN(matches(line, "operator\\(\\) +[0-9]+ km macro\n$"), line);
}

void test_hostile_text() {
  std::string line = stderr_of([] { log_line("f", 1, "a\nb\x1b[31m\tc\x7f"); });
  CHECK_SEEN(matches(line, " a\\?b\\?\\[31m\\?c\\?\n$"), line);
  std::string huge(100000, 'x');
  line = stderr_of([&] { log_line("f", 1, "%s", huge.c_str()); });
  CHECK(line.size() > 1000 && line.size() <= 2048 && line.back() == '\n');
  line = stderr_of([&] { complain("%s", huge.c_str()); });
  CHECK(line.size() > 1000 && line.size() <= 2048 && line.starts_with("km: xxx") && line.back() == '\n');
}

void test_errno() {
  int status = 0;
  stderr_of(
      [] {
        errno = 77;
        log_line("f", 1, "x");
        complain("y");
        _exit(errno == 77 ? 0 : 1);
      },
      &status);
  CHECK(status == 0);
}

void test_tags() {
  CHECK(!log_enabled(Tag::kMem));
  CHECK(log_enable("MEM|^exec$") == 0);
  CHECK(log_enabled(Tag::kMem) && log_enabled(Tag::kExec) && !log_enabled(Tag::kKvm));
  CHECK(log_enable("(") == -EINVAL && log_enabled(Tag::kMem));
  CHECK(log_enable("") == 0);
  for (int tag = 0; tag < static_cast<int>(Tag::kCount); tag++) CHECK(log_enabled(static_cast<Tag>(tag)));
  CHECK(log_enable("none of them") == 0 && !log_enabled(Tag::kMem));
  std::string line = stderr_of([] {
    log_enable("mem");
    KM_TRACE(Tag::kMem, "seen");
    KM_TRACE(Tag::kKvm, "unseen");
  });
  CHECK_SEEN(matches(line, " seen\n$") && !matches(line, "unseen"), line);
}

void test_destinations(const Scratch& scratch) {
  std::string file = scratch.at("log");
  std::string seen = stderr_of([&] {
    if (log_open(file.c_str()) != 0) _exit(1);
    log_line("f", 1, "first");
    complain("for the user");
    log_open("none");
    log_line("f", 1, "nowhere");
    log_open("stderr");
    log_line("f", 1, "back");
    log_open(file.c_str());
    log_line("f", 1, "second");
  });
  CHECK_SEEN(matches(seen, "^km: for the user\n.* back\n$") && !matches(seen, "nowhere|first|second"), seen);
  CHECK_SEEN(matches(content(file), " first\n.* second\n$"), content(file));
  CHECK(log_open("/nonexistent/log") == -ENOENT);
  CHECK(log_open(scratch.at("").c_str()) == -EISDIR);
}

/// What one monitor leaves open for the next: the file, whatever its name is meanwhile; never stderr.
void test_adoption(const Scratch& scratch) {
  const std::string file = scratch.at("handed");
  const std::string seen = stderr_of([&] {
    if (log_file() != -1 || log_open("none") != 0 || log_file() != -1) _exit(1);
    if (log_open(file.c_str()) != 0) _exit(2);
    const int handed = dup(log_file());
    log_open("stderr");
    if (log_file() != -1 || rename(file.c_str(), scratch.at("renamed").c_str()) != 0) _exit(3);
    if (log_adopt(handed) != 0 || fcntl(handed, F_GETFD) != -1 || !is_private_fd(log_file())) _exit(4);
    log_line("f", 1, "went on");
    if (log_adopt(handed) != -EBADF) _exit(5);
    log_line("f", 1, "and on");
  });
  CHECK_SEEN(seen.empty(), seen);
  const std::string text = content(scratch.at("renamed"));
  CHECK_SEEN(matches(text, " went on\n.* and on\n$"), text);
}

/// The log's descriptor is high, private and close-on-exec; reopening leaves none behind.
void test_descriptors(const Scratch& scratch) {
  std::string seen = stderr_of([&] {
    int before = dup(0);
    close(before);
    for (int i = 0; i < 50; i++) log_open(scratch.at("log").c_str());
    int after = dup(0);
    int found = 0;
    for (int fd = 3; fd < 4096; fd++) found += is_private_fd(fd) && fcntl(fd, F_GETFD) == FD_CLOEXEC;
    dprintf(2, "%d %d", before == after, found);
  });
  CHECK_SEEN(seen == "1 1", seen);
}

void test_foreign_stderr(const Scratch& scratch) {
  std::string file = scratch.at("data");
  auto replace_stderr = [&] {
    close(STDERR_FILENO);
    int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd != STDERR_FILENO) _exit(1);
    log_line("f", 1, "log line");
    complain("complaint");
    if (write(fd, "data", 4) != 4) _exit(1);
  };
  std::string seen = stderr_of([&] {
    log_remember_stderr();
    log_line("f", 1, "mine");
    replace_stderr();
  });
  CHECK_SEEN(content(file) == "data", content(file));
  CHECK_SEEN(matches(seen, " mine\n$"), seen);
  seen = stderr_of([&] {  // --log-to: both stay with the first stderr
    log_remember_stderr();
    if (log_keep_stderr() != 0) _exit(1);
    replace_stderr();
  });
  CHECK_SEEN(content(file) == "data", content(file));
  CHECK_SEEN(matches(seen, " log line\nkm: complaint\n$"), seen);
  int status = 0;
  stderr_of(
      [&] {  // closed from the start
        close(STDERR_FILENO);
        log_remember_stderr();
        if (log_keep_stderr() != 0) _exit(1);
        replace_stderr();
      },
      &status);
  CHECK_SEEN(status == 0 && content(file) == "data", content(file));
}

/// A closed pipe ends neither the process nor leaves a signal behind; a SIGPIPE that was pending stays.
void test_broken_pipe() {
  for (bool pending : {false, true}) {
    pid_t child = fork();
    if (child == 0) {
      int pipe_fds[2];
      if (pipe(pipe_fds) != 0) _exit(2);
      dup2(pipe_fds[1], STDERR_FILENO);
      close(pipe_fds[0]);
      sigset_t set, left;
      sigemptyset(&set);
      sigaddset(&set, SIGPIPE);
      if (pending) {
        sigprocmask(SIG_BLOCK, &set, nullptr);
        kill(getpid(), SIGPIPE);
      }
      log_line("f", 1, "x");
      complain("y");
      sigpending(&left);
      _exit(sigismember(&left, SIGPIPE) == (pending ? 1 : 0) ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_SEEN(status == 0, std::to_string(status));
  }
}

}  // namespace

int main() {
  Scratch scratch;
  test_format();
  test_hostile_text();
  test_errno();
  test_tags();
  test_destinations(scratch);
  test_adoption(scratch);
  test_descriptors(scratch);
  test_foreign_stderr(scratch);
  test_broken_pipe();
  return check::finish("log_lines");
}
