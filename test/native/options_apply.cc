// SPDX-License-Identifier: Apache-2.0
// Options put into effect: the log, --log-to with and without standard descriptors, --trace, names carried
// across exec.
#include <limits.h>
#include <sys/wait.h>

#include <functional>

#include "native/base/log.h"
#include "native/km/options.h"
#include "test/native/check.h"
#include "test/native/scratch.h"

using namespace km;

namespace {

/// Runs `body` in a child; its exit status.
int in_child(const std::function<int()>& body) {
  pid_t child = fork();
  if (child == 0) _exit(body());
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -status;
}

std::string content(const std::string& path) {
  char buffer[4096];
  FILE* file = fopen(path.c_str(), "re");
  if (file == nullptr) return "(no file)";
  std::string text(buffer, fread(buffer, 1, sizeof(buffer), file));
  fclose(file);
  return text;
}

/// Applies options in a child; its complaint, or "" when all went well.
std::string complaint(const Options& options, const Scratch& scratch) {
  std::string file = scratch.at("complaint");
  in_child([&] {
    Options mine = options;
    std::string text;
    if (apply_options(mine, &text)) text.clear();
    scratch.write("complaint", text);
    return 0;
  });
  return content(file);
}

void test_errors(const Scratch& scratch) {
  Options options;
  CHECK(complaint(options, scratch).empty());
  options.km_log_to = "/nonexistent/log";
  CHECK(complaint(options, scratch).find("cannot open the log '/nonexistent/log'") != std::string::npos);
  options.from_exec = true;  // a payload that lost its way to the log can still exec
  CHECK(complaint(options, scratch).empty());
  options = {};
  options.verbose = true;
  options.verbose_tags = "(";
  CHECK(complaint(options, scratch).find("'(' is not a regular expression") != std::string::npos);
  options = {};
  options.trace = "file,nonsense";
  CHECK(complaint(options, scratch).find("no call or class 'nonsense'") != std::string::npos);
  options.trace = "file,!stat,openat";
  CHECK(complaint(options, scratch).empty());
  options = {};
  options.log_to = scratch.at("");
  CHECK(complaint(options, scratch).find("name another --log-to") != std::string::npos);
}

/// `closed`: descriptors closed before. The payload's output goes to the file, the monitor's stays where it
/// was.
void test_redirection(const Scratch& scratch, const std::vector<int>& closed) {
  std::string output = scratch.write("output", "before\n"), screen = scratch.write("screen", "");
  int status = in_child([&] {
    int fd = open(screen.c_str(), O_WRONLY | O_APPEND);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
    for (int number : closed) close(number);
    bool had_stdin = fcntl(STDIN_FILENO, F_GETFD) >= 0;
    Options options;
    std::string text;
    options.log_to = output;
    if (!apply_options(options, &text)) return 1;
    bool written = write(STDOUT_FILENO, "out\n", 4) == 4 && write(STDERR_FILENO, "err\n", 4) == 4;
    complain("from km");
    bool kept =
        fcntl(STDOUT_FILENO, F_GETFD) == 0 && fcntl(STDERR_FILENO, F_GETFD) == 0;  // not close-on-exec
    bool same_stdin = (fcntl(STDIN_FILENO, F_GETFD) >= 0) == had_stdin;
    return written && kept && same_stdin ? 0 : 2;
  });
  bool stderr_closed = std::find(closed.begin(), closed.end(), STDERR_FILENO) != closed.end();
  CHECK_SEEN(status == 0, std::to_string(status));
  CHECK_SEEN(content(output) == "before\nout\nerr\n", content(output));
  CHECK_SEEN(content(screen) == (stderr_closed ? "" : "km: from km\n"), content(screen));
}

void test_carried(const Scratch& scratch) {
  Options options;
  std::string text;
  char directory[PATH_MAX];
  options.carried = {"--km-log-to=log",     "--km-log-to=stderr", "--km-log-to=none", "--km-log-to=/x/log",
                     "--virt-device=./kvm", "--hcall-stats",      "--verbose=a/b"};
  if (!CHECK(chdir(scratch.at("").c_str()) == 0 && getcwd(directory, sizeof(directory)) != nullptr)) return;
  CHECK(apply_options(options, &text));
  std::string here = std::string(directory) + "/";
  CHECK(options.carried ==
        (Strings{"--km-log-to=" + here + "log", "--km-log-to=stderr", "--km-log-to=none",
                 "--km-log-to=/x/log", "--virt-device=" + here + "./kvm", "--hcall-stats", "--verbose=a/b"}));
}

}  // namespace

int main() {
  Scratch scratch;
  test_errors(scratch);
  test_redirection(scratch, {});
  test_redirection(scratch, {STDIN_FILENO});
  test_redirection(scratch, {STDOUT_FILENO});
  test_redirection(scratch, {STDERR_FILENO});
  test_redirection(scratch, {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO});
  test_carried(scratch);
  return check::finish("options_apply");
}
