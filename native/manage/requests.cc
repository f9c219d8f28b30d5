// SPDX-License-Identifier: Apache-2.0
// What a client can ask. One line in, one line of JSON out: `status`, `counters`, `log REGEX`, `trace CLASSES`,
// `follow`, `stop [SIGNAL]`.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <charconv>

#include "native/base/log.h"
#include "native/km/options.h"
#include "native/machine/process.h"
#include "native/manage/server.h"
#include "native/syscalls/observe.h"

namespace km {
namespace {

constexpr size_t kMaxArgv = 4096;

struct Object {
  std::string text = "{\"ok\":true";
  void key(const char* name) { text += std::string(",\"") + name + "\":"; }
  void string(const char* name, std::string_view value) {
    key(name);
    json_string(&text, value);
  }
  void number(const char* name, int64_t value) {
    key(name);
    text += std::to_string(value);
  }
  std::string done() { return text + "}\n"; }
};

std::string failure(std::string_view why) {
  std::string text = "{\"ok\":false,\"error\":";
  json_string(&text, why);
  return text + "}\n";
}

int64_t milliseconds(clockid_t clock) {
  timespec ts;
  clock_gettime(clock, &ts);
  return ts.tv_sec * 1000 + ts.tv_nsec / 1'000'000;
}

/// Field `index` of a /proc file of numbers, behind the last ')'; -1 when it cannot be read.
int64_t proc_field(const char* path, int index) {
  char text[1024];
  FILE* file = fopen(path, "re");
  if (file == nullptr) return -1;
  const size_t length = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[length] = '\0';
  const char* at = strrchr(text, ')');
  at = at != nullptr ? at + 1 : text;
  for (; index > 0 && at != nullptr; index--) at = strchr(at + (*at == ' '), ' ');
  return at != nullptr ? strtoll(at, nullptr, 10) : -1;
}

/// Milliseconds since the process started (proc(5): starttime is field 22 of stat, in clock ticks since boot).
int64_t uptime() {
  const int64_t started = proc_field("/proc/self/stat", 19);
  const int64_t tick = sysconf(_SC_CLK_TCK);
  return started < 0 ? -1 : milliseconds(CLOCK_BOOTTIME) - started * 1000 / tick;
}

std::string status() {
  const Process& p = process();
  Object o;
  o.number("protocol", 1);
  o.number("pid", getpid());
  o.number("uid", getuid());
  o.string("program", p.exe_path);
  o.key("argv");
  o.text += '[';
  size_t shown = 0;
  for (const std::string& word : p.argv) {
    if (shown > kMaxArgv) break;
    if (shown != 0) o.text += ',';
    json_string(&o.text, std::string_view(word).substr(0, kMaxArgv));
    shown += word.size() + 1;
  }
  o.text += ']';
  o.string("device", p.driver->path());
  o.string("driver", p.machine->kind());
  o.number("vcpus", p.live_threads);
  const int64_t page = sysconf(_SC_PAGESIZE);
  o.number("memoryBytes", proc_field("/proc/self/statm", 1) * page);
  o.number("sharedBytes", proc_field("/proc/self/statm", 2) * page);
  o.number("uptimeMs", uptime());
  o.number("cpuMs", milliseconds(CLOCK_PROCESS_CPUTIME_ID));
  o.string("log", p.options->km_log_to.empty() ? "stderr" : p.options->km_log_to);
  o.string("output", p.options->log_to);
  return o.done();
}

/// Counting starts with the first question.
std::string counters() {
  Object o;
  count_syscalls();
  o.key("calls");
  o.text += '{';
  for_each_count(
      [](uint64_t, const char* name, const SyscallCount& count, void* argument) {
        std::string* out = static_cast<std::string*>(argument);
        if (out->back() != '{') *out += ',';
        json_string(out, name);
        *out += ":{\"calls\":" + std::to_string(count.calls) + ",\"errors\":" + std::to_string(count.errors) +
                ",\"ns\":" + std::to_string(count.nanoseconds) + "}";
      },
      &o.text);
  o.text += '}';
  return o.done();
}

Answer start_trace(const std::string& classes) {
  if (const char* unknown = trace_syscalls(classes.empty() ? "all" : classes.c_str())) {
    return {failure(std::string("no call or class is named '") + unknown + "'")};
  }
  return {Object().done(), Stream::kTrace};
}

std::string set_log(const std::string& regex) {
  // Intervals and groups let a few characters cost a regcomp() gigabytes; tags are words.
  constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789|^$.*-";
  if (regex.find_first_not_of(kPlain) != std::string::npos) return failure("only words, | ^ $ . * and -");
  if (log_enable(regex.c_str()) != 0) return failure("not a regular expression");
  return Object().done();
}

/// The signal is sent when the answer is out: the process may not live to give it.
Answer stop(std::string_view word) {
  int signo = SIGTERM;
  if (!word.empty()) {
    auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), signo);
    if (error != std::errc() || end != word.data() + word.size() || signo < 1 || signo > SIGRTMAX) {
      return {failure("not a signal number")};
    }
  }
  return {Object().done(), Stream::kNone, signo};
}

}  // namespace

void json_string(std::string* out, std::string_view text) {
  *out += '"';
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      *out += '\\';
      *out += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      char escaped[8];
      snprintf(escaped, sizeof escaped, "\\u%04x", byte);
      *out += escaped;
    } else {
      *out += c;
    }
  }
  *out += '"';
}

Answer manage_request(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  const size_t space = line.find(' ');
  const std::string_view verb = line.substr(0, space);
  const std::string_view rest = space == std::string_view::npos ? std::string_view() : line.substr(space + 1);
  if (rest.find('\0') != std::string_view::npos) return {failure("a NUL byte")};
  if (verb == "status") return {status()};
  if (verb == "counters") return {counters()};
  if (verb == "log") return {set_log(std::string(rest))};
  if (verb == "trace") return start_trace(std::string(rest));
  if (verb == "follow") return {Object().done(), Stream::kLog};
  if (verb == "stop") return stop(rest);
  return {failure("unknown request; there are status, counters, log, trace, follow, stop")};
}

void manage_end_stream(Stream stream) {
  if (stream != Stream::kTrace) return;
  trace_syscalls("!all");
  const std::string& asked = process().options->trace;
  if (!asked.empty()) trace_syscalls(asked.c_str());
}

}  // namespace km
