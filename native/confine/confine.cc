// SPDX-License-Identifier: Apache-2.0
#include "native/confine/confine.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native/base/log.h"
#include "native/confine/filter.h"
#include "native/confine/landlock.h"
#include "native/syscalls/syscalls.h"

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1  // si_code of SIGSYS, asm-generic/siginfo.h
#endif

namespace km::confine {
namespace {

size_t installed_length = 0;

/// A monitor that was executed by another has its filter.
bool is_filtered() { return prctl(kProbeOption, 0, 0, 0, 0) == -1 && errno == kProbeAnswer; }

/// Before the payload's signals are set up (signals.cc).
void on_forbidden(int signo, siginfo_t* info, void*) {
  if (is_violation(*info)) end_by_violation(*info);
  signal(signo, SIG_DFL);  // somebody sent it: what it would have done without this handler
  raise(signo);            // when the handler returns
}

bool install(const Verdicts& verdicts, std::string* why) {
  Code code = build_filter(verdicts);
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  // The kernel copies the program.
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
    *why = std::string("the kernel takes no seccomp filter (") + strerror(errno) + "); --seccomp=off runs without one";
    return false;
  }
  installed_length = code.size();
  KM_TRACE(Tag::kProc, "seccomp filter of %zu instructions", code.size());
  return true;
}

bool restrict_calls(Seccomp mode, bool is_kkm, std::string* why) {
  if (mode == Seccomp::kOff || is_filtered()) return true;
  if (mode == Seccomp::kLog) return install({SECCOMP_RET_LOG, SECCOMP_RET_LOG}, why);
  struct sigaction before {}, action {};
  action.sa_sigaction = on_forbidden;
  action.sa_flags = SA_SIGINFO;
  // An ignored SIGSYS stays so for the payload; the filter's own ends the process all the same.
  if (sigaction(SIGSYS, nullptr, &before) == 0 && before.sa_handler == SIG_DFL) sigaction(SIGSYS, &action, nullptr);
  return install({SECCOMP_RET_TRAP, is_kkm ? SECCOMP_RET_TRAP : SECCOMP_RET_KILL_PROCESS}, why);
}

}  // namespace

bool from_text(const std::string& text, FileRule* rule) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return false;
  const std::string rights = text.substr(colon + 1);
  if (rights != "ro" && rights != "rw") return false;
  *rule = {text.substr(0, colon), rights == "rw"};
  return true;
}

bool apply(const Limits& limits, bool is_kkm, int self_fd, std::string* why) {
  // Programs of the payload are run by this executable, so a set-user-ID bit of theirs never counted anyway.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    *why = std::string("the kernel refuses no_new_privs: ") + strerror(errno);
    return false;
  }
  if (!limits.files.empty() && !restrict_files(limits.files, self_fd, why)) return false;
  return restrict_calls(limits.seccomp, is_kkm, why);
}

size_t filter_length() { return installed_length; }

bool is_violation(const siginfo_t& info) { return info.si_signo == SIGSYS && info.si_code == SYS_SECCOMP; }

void end_by_violation(const siginfo_t& info) {
  const char* name = syscall_name(static_cast<uint64_t>(info.si_syscall));
  complain("the monitor asked the host for system call %d (%s), which its seccomp filter forbids: stopped. Report it; "
           "--seccomp=off runs without the filter",
           info.si_syscall, name != nullptr ? name : "unknown");
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(SIGSYS, &action, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGSYS);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  syscall(SYS_tgkill, getpid(), gettid(), SIGSYS);
  _exit(128 + SIGSYS);  // pid 1 of a pid namespace survives default actions
}

}  // namespace km::confine
