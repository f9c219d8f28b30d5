// SPDX-License-Identifier: Apache-2.0
// Options of the whole process, put into effect.
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "native/base/log.h"
#include "native/km/options.h"
#include "native/manage/report.h"
#include "native/syscalls/observe.h"

namespace km {
namespace {

bool open_log(const Options& options, std::string* text) {
  if (options.verbose && log_enable(options.verbose_tags.c_str()) < 0) {
    *text = "'" + options.verbose_tags + "' is not a regular expression for --verbose (see man 7 regex)";
    return false;
  }
  // What the program before had open: it may have lost the right to the file, or changed its root.
  if (options.log_fd >= 0) {
    if (log_adopt(options.log_fd) == 0) return true;
    close(options.log_fd);  // not for the payload
  }
  if (options.km_log_to.empty()) return true;
  int result = log_open(options.km_log_to.c_str());
  // After an exec that is no reason to fail.
  if (result == 0 || options.from_exec) return true;
  *text =
      "cannot open the log '" + options.km_log_to + "': " + strerror(-result) + "; name another --km-log-to";
  return false;
}

constexpr std::string_view kFileOptions[] = {"--km-log-to=", "--virt-device="};

void make_absolute(Strings& carried) {
  char* directory = get_current_dir_name();
  if (directory == nullptr) return;  // deleted: names relative to it mean nothing any more
  for (std::string& word : carried) {
    for (std::string_view option : kFileOptions) {
      if (!word.starts_with(option)) continue;
      std::string file = word.substr(option.size());
      if (file.starts_with('/') || file == "stderr" || file == "none") continue;
      word.insert(option.size(), std::string(directory) + "/");
    }
  }
  free(directory);
}

bool redirect_output(const std::string& file, std::string* text) {
  int error = -log_keep_stderr();  // the monitor goes on talking to the user
  // Not close-on-exec: where stdout or stderr was closed, this may become it.
  int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY, 0644);
  if (fd < 0) {
    *text =
        "cannot open '" + file + "' for the payload's output: " + strerror(errno) + "; name another --log-to";
    return false;
  }
  if (error == 0 && (dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)) error = errno;
  if (fd != STDOUT_FILENO && fd != STDERR_FILENO) close(fd);
  if (error == 0) return true;
  *text = std::string("cannot redirect the payload's output for --log-to: ") + strerror(error);
  return false;
}

}  // namespace

bool apply_options(Options& options, std::string* text) {
  log_remember_stderr();
  if (int error = options.status_fd < 0 ? 0 : report_to(options.status_fd); error != 0) {
    *text = "option --status-fd: descriptor " + std::to_string(options.status_fd) + ": " + strerror(-error);
    return false;
  }
  if (!open_log(options, text)) return false;
  if (!options.trace.empty()) {
    const char* unknown = trace_syscalls(options.trace.c_str());
    if (unknown != nullptr) {
      *text = "option --trace knows no call or class '" + std::string(unknown) +
              "'; --trace=all shows everything";
      return false;
    }
  }
  if (!options.carried.empty()) make_absolute(options.carried);
  if (options.hcall_stats) count_syscalls();
  kill_on_unimplemented(options.kill_unimplemented);
  return options.log_to.empty() || redirect_output(options.log_to, text);
}

}  // namespace km
