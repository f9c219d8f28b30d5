// SPDX-License-Identifier: Apache-2.0
// The monitor's log: `HH:MM:SS.uuuuuu <function> <line> <thread> text`, to stderr, a file, or nowhere.
#pragma once

#include <cstdint>

namespace km {

/// Trace tags for -V; each prints only when its bit is enabled (see kTraceTags in log.cc).
enum class Tag : uint8_t { kVcpu, kKvm, kKkm, kMem, kSignals, kProc, kExec, kFork, kArgs, kLoad, kFiles, kHypercall, kCount };

/// Chooses the destination: "stderr", "none" or a file name (opened O_APPEND, close-on-exec, hidden fd).
/// Returns 0 or -errno.
int log_open(const char* destination);

/// Enables the tags whose names match the extended regular expression (case-insensitive); empty = all.
/// Returns 0 or -EINVAL.
int log_enable(const char* regex);

bool log_enabled(Tag tag);

/// Always printed (warnings and errors).
[[gnu::format(printf, 3, 4)]] void log_line(const char* function, int line, const char* format, ...);

/// One line for the user on stderr, `km: <text>`, whatever the log destination is.
[[gnu::format(printf, 1, 2)]] void complain(const char* format, ...);

}  // namespace km

#define KM_LOG(...) ::km::log_line(__func__, __LINE__, __VA_ARGS__)
#define KM_TRACE(tag, ...)                                            \
  do {                                                                \
    if (::km::log_enabled(tag)) ::km::log_line(__func__, __LINE__, __VA_ARGS__); \
  } while (0)
