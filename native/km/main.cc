// SPDX-License-Identifier: Apache-2.0
// km: runs one Linux program in a virtual machine of its own.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <string>

#include "native/base/log.h"
#include "native/km/options.h"
#include "native/machine/start.h"
#include "native/manage/report.h"

namespace {

/// --wait-for-signal: lets a debugger or a test take its place first.
void wait_for_user_signal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  fprintf(stderr, "Waiting for kill -SIGUSR1 %d\n", getpid());
  int signo = 0;
  sigwait(&set, &signo);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace

int main(int, char** argv, char** envp) {
  static km::Options options;
  std::string text;
  const auto* execfn = reinterpret_cast<const char*>(getauxval(AT_EXECFN));  // kernel's string on our stack
  switch (km::read_command_line(argv, envp, execfn != nullptr ? execfn : "", &options, &text)) {
    case km::Command::kPrint:
      fputs(text.c_str(), stdout);
      return fflush(stdout) == 0 ? 0 : 1;
    case km::Command::kUsageError:
      km::complain("%s", text.c_str());
      return km::kUsageStatus;
    case km::Command::kRun:
      break;
  }
  if (!km::apply_options(options, &text)) {
    km::complain("%s", text.c_str());
    km::report_failure(km::kUsageStatus, text.c_str());
    return km::kUsageStatus;
  }
  if (options.wait_for_signal) wait_for_user_signal();
  int status = km::start_payload(options, &text);
  km::complain("%s", text.c_str());
  km::report_failure(status, text.c_str());
  return status;
}
