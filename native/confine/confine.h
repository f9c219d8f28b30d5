// SPDX-License-Identifier: Apache-2.0
// What the monitor gives up before it reads the payload's program: rights it never needs (seccomp), rights a program
// could gain (no_new_privs), files (Landlock). Inherited by every thread, fork and exec; none of it can be taken back.
#pragma once

#include <csignal>
#include <cstdint>
#include <string>
#include <vector>

namespace km::confine {

enum class Seccomp : uint8_t {
  kOn,   ///< calls that are not allowed end the process
  kOff,
  kLog,  ///< they happen, and the kernel's log says so (seccomp(2), SECCOMP_RET_LOG)
};

/// --landlock PATH:ro|rw
struct FileRule {
  std::string path;
  bool writable = false;
};

/// Reads "PATH:ro" or "PATH:rw".
bool from_text(const std::string& text, FileRule* rule);

struct Limits {
  Seccomp seccomp = Seccomp::kOn;
  std::vector<FileRule> files;  ///< empty: every file the user may open
};

/// Puts the limits on the calling process, which must have one thread. `is_kkm`: the machine is KKM's, whose payload
/// makes its system calls in a process that inherits the filter; before Linux 5.11 a verdict that kills would strike
/// the payload's own 32-bit calls. `self_fd`: the monitor's executable, which stays the one file that can be executed.
/// False: the reason is in `why`.
bool apply(const Limits& limits, bool is_kkm, int self_fd, std::string* why);

/// Instructions of the filter apply() has put on; 0: none, or inherited.
size_t filter_length();

/// True for the SIGSYS of the filter.
bool is_violation(const siginfo_t& info);

/// Says which call it was and ends the process by SIGSYS.
[[noreturn]] void end_by_violation(const siginfo_t& info);

}  // namespace km::confine
