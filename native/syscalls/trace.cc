// SPDX-License-Identifier: Apache-2.0
// Lines of --trace: arguments shown by their kind in table.def.
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "native/base/log.h"
#include "native/syscalls/internal.h"
#include "native/syscalls/names.h"
#include "native/syscalls/observe.h"
#include "native/syscalls/spec.h"
#include "native/syscalls/stats.h"

namespace km {

namespace detail {
std::atomic<bool> watching{false};
}

namespace {

constexpr size_t kShownBytes = 64;

std::atomic<bool> traced[kCallCount];
std::atomic<bool> trace_unknown{false};

struct GroupName {
  const char* name;
  uint32_t bits;
};

constexpr GroupName kGroupNames[] = {
    {"file", kFile},   {"desc", kDesc},     {"net", kNet},   {"network", kNet}, {"process", kProcess},
    {"memory", kMemory}, {"signal", kSignal}, {"time", kTime}, {"ipc", kIpc},     {"sched", kSched},
    {"id", kId},       {"system", kSystem}, {"poll", kPoll}, {"aio", kAio},
};

/// Sets the calls one word stands for; false when it stands for none.
bool set_traced(std::string_view word, bool on) {
  bool found = word == "all";
  uint32_t groups = 0;
  for (const GroupName& group : kGroupNames)
    if (word == group.name) groups = group.bits;
  for (size_t nr = 0; nr < kCallCount; nr++) {
    const CallSpec& call = kCalls[nr];
    if (call.name == nullptr) continue;
    if (word != "all" && (call.groups & groups) == 0 && word != call.name) continue;
    traced[nr] = on;
    found = true;
  }
  if (word == "all") trace_unknown = on;
  return found;
}

void add_quoted(Text& out, const char* bytes, size_t size, bool more) {
  out.add_char('"');
  for (size_t i = 0; i < size; i++) {
    unsigned char c = static_cast<unsigned char>(bytes[i]);
    if (c == '"' || c == '\\') out.add("\\%c", c);
    else if (c == '\n') out.add("\\n");
    else if (c == '\t') out.add("\\t");
    else if (c == '\r') out.add("\\r");
    else if (c < 0x20 || c >= 0x7f) out.add("\\x%02x", c);
    else out.add_char(static_cast<char>(c));
  }
  out.add(more ? "\"..." : "\"");
}

void add_address(Text& out, uint64_t addr) {
  if (addr == 0) out.add("NULL");
  else out.add("0x%" PRIx64, addr);
}

void add_string(Text& out, uint64_t addr) {
  char text[257];
  if (addr == 0) return out.add("NULL");
  int64_t length = copy_string_from_guest(text, addr, sizeof(text));
  if (length == -ENAMETOOLONG) return add_quoted(out, text, sizeof(text), true);
  if (length < 0) return add_address(out, addr);
  add_quoted(out, text, static_cast<size_t>(length), false);
}

void add_bytes(Text& out, uint64_t addr, uint64_t length) {
  char bytes[kShownBytes];
  size_t shown = std::min<uint64_t>(length, sizeof(bytes));
  if (addr == 0 || copy_from_guest(bytes, addr, shown) != 0) return add_address(out, addr);
  add_quoted(out, bytes, shown, length > shown);
}

void add_sockaddr(Text& out, uint64_t addr) {
  union {
    sockaddr any;
    sockaddr_in in;
    sockaddr_un un;
    unsigned char bytes[128];
  } address = {};
  if (addr == 0 || copy_from_guest(&address, addr, 16) != 0) return add_address(out, addr);
  if (address.any.sa_family == AF_INET) {
    const unsigned char* ip = address.bytes + 4;
    return out.add("{AF_INET, %u.%u.%u.%u:%u}", ip[0], ip[1], ip[2], ip[3], ntohs(address.in.sin_port));
  }
  if (address.any.sa_family == AF_UNIX) {
    out.add("{AF_UNIX, ");
    // As much as is there: the address may end before 110 bytes, at the end of mapped memory.
    size_t length = copy_from_guest(&address, addr, sizeof(address.un)) == 0 ? sizeof(address.un) : 16;
    size_t offset = offsetof(sockaddr_un, sun_path) + (address.un.sun_path[0] == '\0' ? 1 : 0);
    const char* path = reinterpret_cast<const char*>(address.bytes) + offset;
    add_quoted(out, path, strnlen(path, length - offset), false);
    return out.add("}");
  }
  out.add("{family ");
  add_enum(out, Names::kFamily, address.any.sa_family);
  out.add("}");
}

void add_struct(Text& out, Struct layout, uint64_t addr) {
  int64_t v[4];
  size_t words = layout == Struct::kTimespec || layout == Struct::kTimeval ? 2 : 4;
  switch (layout) {
    case Struct::kSockaddr:
      return add_sockaddr(out, addr);
    case Struct::kTimespec: case Struct::kTimeval: case Struct::kItimerspec: case Struct::kItimerval:
      break;
    default:
      return add_address(out, addr);
  }
  if (addr == 0 || copy_from_guest(v, addr, words * 8) != 0) return add_address(out, addr);
  const bool nano = layout == Struct::kTimespec || layout == Struct::kItimerspec;
  const char* format = nano ? "%" PRId64 ".%09" PRId64 "s" : "%" PRId64 ".%06" PRId64 "s";
  char first[48], second[48];
  snprintf(first, sizeof(first), format, v[0], v[1]);
  if (words == 2) return out.add("{%s}", first);
  snprintf(second, sizeof(second), format, v[2], v[3]);
  out.add("{interval %s, value %s}", first, second);
}

void add_argument(Text& out, const CallSpec& call, unsigned index, const uint64_t args[6], int64_t result) {
  const ArgSpec& spec = call.args[index];
  const uint64_t value = args[index];
  const bool failed = result < 0 && result >= -4095;
  switch (spec.kind) {
    case Arg::kInt: case Arg::kPid: return out.add("%d", static_cast<int>(value));
    case Arg::kUint: return out.add("%u", static_cast<unsigned>(value));
    case Arg::kLong: case Arg::kOff: return out.add("%" PRId64, static_cast<int64_t>(value));
    case Arg::kSize: return out.add("%" PRIu64, value);
    case Arg::kHex: return out.add("0x%" PRIx64, value);
    case Arg::kMode: return out.add("0%o", static_cast<unsigned>(value));
    case Arg::kSig: return add_signal(out, static_cast<int>(value));
    case Arg::kFd: return out.add("%d", static_cast<int>(value));
    case Arg::kDirFd:
      if (static_cast<int>(value) == -100) return out.add("AT_FDCWD");
      return out.add("%d", static_cast<int>(value));
    case Arg::kPath: case Arg::kStr: return add_string(out, value);
    case Arg::kInBuf: return add_bytes(out, value, args[spec.arg]);
    case Arg::kOutBuf: return failed ? add_address(out, value) : add_bytes(out, value, static_cast<uint64_t>(result));
    case Arg::kIn: return add_struct(out, call.groups & kNet && spec.arg == 2 ? Struct::kSockaddr : spec.layout, value);
    case Arg::kOut: case Arg::kInOut: return failed ? add_address(out, value) : add_struct(out, spec.layout, value);
    case Arg::kSet: return add_set(out, spec.names, value);
    case Arg::kEnum: return add_enum(out, spec.names, value);
    default: return add_address(out, value);
  }
}

void add_result(Text& out, const CallSpec& call, int64_t result) {
  if (result == kRestartCall) return out.add(" = ? ERESTART");
  if (result < 0 && result >= -4095) {
    const int error = static_cast<int>(-result);
    return out.add(" = -1 %s (%s)", error_name(error), strerrordesc_np(error) ? strerrordesc_np(error) : "?");
  }
  const bool address = (call.groups & kMemory) && static_cast<uint64_t>(result) > 0xffff;
  out.add(address ? " = 0x%" PRIx64 : " = %" PRId64, result);
}

/// open(2)'s mode means nothing unless a file may be made.
bool is_idle_mode(const CallSpec& call, unsigned index, const uint64_t args[6]) {
  constexpr uint64_t kMakes = 0100 | 020000000;  // O_CREAT, and the bit that is O_TMPFILE's own
  return index > 0 && call.args[index].kind == Arg::kMode && call.args[index - 1].names == Names::kOpen &&
         (args[index - 1] & kMakes) == 0;
}

/// Calls that do not come back when they succeed are shown when they start.
bool leaves(const CallSpec& call) {
  constexpr const char* kLeaving[] = {"exit", "exit_group", "rt_sigreturn", "execve", "execveat", "km_unmapself"};
  return std::any_of(std::begin(kLeaving), std::end(kLeaving), [&](const char* name) {
    return call.name != nullptr && strcmp(name, call.name) == 0;
  });
}

void add_call(Text& out, uint64_t nr, const CallSpec& call, const uint64_t args[6], int64_t result) {
  if (call.name == nullptr) return out.add("syscall_%" PRIu64 "(0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64 ")", nr,
                                           args[0], args[1], args[2]);
  out.add("%s(", call.name);
  for (unsigned i = 0; i < call.count; i++) {
    if (is_idle_mode(call, i, args)) continue;
    if (i != 0) out.add(", ");
    add_argument(out, call, i, args, result);
  }
  out.add_char(')');
}

void print_line(const Text& line) { log_line("trace", 0, "%s", line.c_str()); }

}  // namespace

const char* trace_syscalls(const char* classes) {
  static char bad[64];
  std::string_view rest = classes;
  while (!rest.empty()) {
    size_t comma = rest.find(',');
    std::string_view word = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    bool on = word.empty() || word[0] != '!';
    if (!on) word.remove_prefix(1);
    if (word.empty() || set_traced(word, on)) continue;
    snprintf(bad, sizeof(bad), "%.*s", static_cast<int>(std::min(word.size(), sizeof(bad) - 1)), word.data());
    return bad;
  }
  detail::watching = true;
  return nullptr;
}

Observation::Observation(uint64_t nr, const CallSpec& call, const uint64_t args[6]) : nr_(nr), call_(call) {
  memcpy(args_, args, sizeof(args_));
  traced_ = call.name != nullptr ? traced[nr].load(std::memory_order_relaxed) : trace_unknown.load();
  if (traced_ && leaves(call)) {
    Text line;
    add_call(line, nr, call, args_, 0);
    line.add(" = ?");
    print_line(line);
  }
  start_ = count_start();
  if (start_ != 0 && leaves(call)) count_call(nr, 0, start_);
}

void Observation::finish(int64_t result) {
  const bool came_back = !leaves(call_) || (result < 0 && result >= -4095);
  if (start_ != 0 && !leaves(call_)) count_call(nr_, result, start_);
  if (!traced_ || !came_back) return;
  Text line;
  add_call(line, nr_, call_, args_, result);
  add_result(line, call_, result);
  print_line(line);
}

}  // namespace km
