// SPDX-License-Identifier: Apache-2.0
// The monitor's log: `HH:MM:SS.uuuuuu <function> <line> <thread> text`, to stderr, a file, or nowhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace km {

/// Trace tags for -V; each prints only when its bit is enabled (names: log_tags()).
enum class Tag : uint8_t {
  kVcpu,
  kKvm,
  kKkm,
  kMem,
  kSignals,
  kProc,
  kExec,
  kFork,
  kArgs,
  kLoad,
  kFiles,
  kHypercall,
  kCount
};

/// Chooses the destination: "stderr", "none" or a file name (created 0644, appended to, close-on-exec,
/// private descriptor). Without a call the log goes to stderr. Returns 0 or -errno, the destination then
/// unchanged.
int log_open(const char* destination);

/// The descriptor of the file the log goes to; -1: it goes to stderr or nowhere. For the monitor of the next program.
int log_file();

/// Goes on with the open file that another monitor's log_file() named. Returns 0 or -errno, `fd` then still open.
int log_adopt(int fd);

/// Remembers what stderr is now. From then on nothing is written to descriptor 2 once it names another file:
/// a payload may close it and get the number again for its own data.
void log_remember_stderr();

/// Keeps a private copy of the present stderr for log and complaints; to be called before descriptor 2 is
/// redirected on the payload's behalf (--log-to). Returns 0 or -errno.
int log_keep_stderr();

/// Enables the tags whose names match the extended regular expression (case-insensitive); empty = all.
/// Returns 0 or -EINVAL.
int log_enable(const char* regex);

bool log_enabled(Tag tag);

/// Names of the tags, in the order of Tag.
std::span<const char* const> log_tags();

/// Sends finished lines to `tap` as well, or instead when it returns true; nullptr ends that. Called on the
/// thread that logs: it must not wait. `is_trace`: a line of --trace.
using LogTap = bool (*)(bool is_trace, const char* line, size_t length);
void log_set_tap(LogTap tap);

/// Name of the calling thread in the log, at most 15 characters ("vcpu-3"). Unnamed: "km" for the first
/// thread, "tid-<n>" for others.
void log_name_thread(const char* name);

/// Always printed (warnings and errors). One write(2) a line; control characters become '?'; errno is kept.
[[gnu::format(printf, 3, 4)]] void log_line(const char* function, int line, const char* format, ...);

/// One line for the user on stderr, `km: <text>`, whatever the log destination is.
[[gnu::format(printf, 1, 2)]] void complain(const char* format, ...);

}  // namespace km

#define KM_LOG(...) ::km::log_line(__func__, __LINE__, __VA_ARGS__)
#define KM_TRACE(tag, ...)                                                       \
  do {                                                                           \
    if (::km::log_enabled(tag)) ::km::log_line(__func__, __LINE__, __VA_ARGS__); \
  } while (0)
