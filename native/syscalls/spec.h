// SPDX-License-Identifier: Apache-2.0
// table.def in memory: one CallSpec a system call, its argument text parsed at compile time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "native/syscalls/syscalls.h"

namespace km {

/// Classes of calls for --trace; a call may be in several.
enum Group : uint32_t {
  kFile = 1, kDesc = 2, kNet = 4, kProcess = 8, kMemory = 16, kSignal = 32, kTime = 64, kIpc = 128, kSched = 256,
  kId = 512, kSystem = 1024, kPoll = 2048, kAio = 4096,
};

enum class Class : uint8_t { kUnknown, kForward, kHandle, kRefuse, kQuiet, kAbsent };

/// What a snapshot must know of a call that ran (see table.def).
enum Effect : uint8_t { kNone, kFd, kState };

enum class Arg : uint8_t {
  kAbsent, kInt, kUint, kLong, kSize, kOff, kHex, kMode, kPid, kSig, kFd, kDirFd, kPath, kStr, kIn, kOut, kInOut,
  kInBuf, kOutBuf, kPtr, kSet, kEnum,
};

/// Structures the table names; the tracer decodes some of them.
enum class Struct : uint8_t {
  kNone, kTimespec, kTimeval, kItimerval, kItimerspec, kStat, kStatfs, kRusage, kUtsname, kTimex, kSockaddr,
};

/// Flag words and enumerations with names (names.cc).
enum class Names : uint8_t {
  kNone, kOpen, kAccess, kProt, kMap, kMremap, kMadvise, kWhence, kSigHow, kFamily, kSockType, kMsg, kFcntl, kAt,
  kClock, kFutex, kEpollOp, kRlimit, kPrctl, kIoctl,
};

/// Length of the memory behind an argument: value(arg) * mul / div + add, or `add` alone when arg < 0.
struct ArgSpec {
  Arg kind = Arg::kAbsent;
  Struct layout = Struct::kNone;
  Names names = Names::kNone;
  int8_t arg = -1;
  uint8_t mul = 1;
  uint16_t div = 1;
  uint32_t add = 0;
};

struct CallSpec {
  const char* name = nullptr;
  SyscallHandler handler = nullptr;
  Class cls = Class::kUnknown;
  bool on_host = false;   ///< the call itself reaches the host (FORWARD and HANDLE)
  Effect effect = kNone;
  int16_t error = 0;      ///< refused calls: errno
  uint32_t groups = 0;
  uint8_t count = 0;      ///< arguments
  std::array<ArgSpec, 6> args{};
};

constexpr size_t kCallCount = 512;

/// The table, indexed by number; gaps have no name.
extern const std::array<CallSpec, kCallCount> kCalls;

/// Constant lengths may reach at most this far past the window: nothing is mapped in the 2 MiB behind it.
constexpr uint32_t kLongestFixed = 1u << 20;

/// An address nothing is ever mapped at (not canonical, SDM vol. 1, 3.3.7.1): the kernel answers EFAULT if it looks.
constexpr uint64_t kNowhere = 1ull << 63;

struct NamedKind { std::string_view name; Arg kind; };
struct NamedStruct { std::string_view name; Struct layout; uint32_t size; };
struct NamedSet { std::string_view name; Names names; };

constexpr NamedKind kKinds[] = {
    {"int", Arg::kInt},     {"uint", Arg::kUint},   {"long", Arg::kLong},     {"size", Arg::kSize},
    {"off", Arg::kOff},     {"hex", Arg::kHex},     {"mode", Arg::kMode},     {"pid", Arg::kPid},
    {"sig", Arg::kSig},     {"fd", Arg::kFd},       {"dirfd", Arg::kDirFd},   {"path", Arg::kPath},
    {"str", Arg::kStr},     {"in", Arg::kIn},       {"out", Arg::kOut},       {"inout", Arg::kInOut},
    {"inbuf", Arg::kInBuf}, {"outbuf", Arg::kOutBuf}, {"ptr", Arg::kPtr},     {"set", Arg::kSet},
    {"enum", Arg::kEnum},
};

// Sizes of the kernel's structures on x86-64 (uapi headers).
constexpr NamedStruct kStructs[] = {
    {"timespec", Struct::kTimespec, 16},     {"timeval", Struct::kTimeval, 16},
    {"itimerval", Struct::kItimerval, 32},   {"itimerspec", Struct::kItimerspec, 32},
    {"stat", Struct::kStat, 144},            {"statfs", Struct::kStatfs, 120},
    {"rusage", Struct::kRusage, 144},        {"utsname", Struct::kUtsname, 390},
    {"timex", Struct::kTimex, 208},          {"sockaddr", Struct::kSockaddr, 128},
};

constexpr NamedSet kSets[] = {
    {"open", Names::kOpen},       {"access", Names::kAccess},   {"prot", Names::kProt},     {"map", Names::kMap},
    {"mremap", Names::kMremap},   {"madvise", Names::kMadvise}, {"whence", Names::kWhence}, {"sighow", Names::kSigHow},
    {"family", Names::kFamily},   {"socktype", Names::kSockType}, {"msg", Names::kMsg},     {"fcntl", Names::kFcntl},
    {"at", Names::kAt},           {"clock", Names::kClock},     {"futex", Names::kFutex},   {"epollop", Names::kEpollOp},
    {"rlimit", Names::kRlimit},   {"prctl", Names::kPrctl},     {"ioctl", Names::kIoctl},
};

/// Compile-time reader of one call's argument text. A mistake in table.def calls bad_table(), which is not constexpr
/// and so stops the compiler at the line.
struct SpecParser {
  static void bad_table(const char* why);

  static constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

  static constexpr uint32_t number(std::string_view& text) {
    if (text.empty() || !is_digit(text[0])) bad_table("number expected");
    uint32_t value = 0;
    while (!text.empty() && is_digit(text[0])) {
      value = value * 10 + static_cast<uint32_t>(text[0] - '0');
      text.remove_prefix(1);
    }
    return value;
  }

  static constexpr int find_argument(std::string_view args, std::string_view name) {
    int index = 0;
    while (!args.empty()) {
      size_t blank = args.find(' ');
      std::string_view word = args.substr(0, blank);
      if (word.substr(0, word.find(':')) == name) return index;
      if (blank == std::string_view::npos) break;
      args.remove_prefix(blank + 1);
      index++;
    }
    return -1;
  }

  static constexpr void length(ArgSpec& spec, std::string_view text, std::string_view args) {
    if (text.empty()) bad_table("length expected");
    if (is_digit(text[0])) {
      spec.add = number(text);
      if (!text.empty() || spec.add > kLongestFixed) bad_table("fixed length");
      return;
    }
    std::string_view word = text.substr(0, text.find_first_of("*/+"));
    text.remove_prefix(word.size());
    for (const NamedStruct& known : kStructs) {
      if (known.name != word) continue;
      spec.layout = known.layout;
      spec.add = known.size;
      if (!text.empty()) bad_table("structures come alone");
      return;
    }
    spec.arg = static_cast<int8_t>(find_argument(args, word));
    if (spec.arg < 0) bad_table("no such argument");
    if (!text.empty() && text[0] == '*') spec.mul = static_cast<uint8_t>(number((text.remove_prefix(1), text)));
    if (!text.empty() && text[0] == '/') spec.div = static_cast<uint16_t>(number((text.remove_prefix(1), text)));
    if (!text.empty() && text[0] == '+') spec.add = number((text.remove_prefix(1), text));
    if (!text.empty() || spec.mul == 0 || spec.div == 0) bad_table("length");
  }

  static constexpr Names names(std::string_view text) {
    for (const NamedSet& known : kSets)
      if (known.name == text) return known.names;
    bad_table("no such set of names");
    return Names::kNone;
  }

  static constexpr ArgSpec argument(std::string_view word, std::string_view args) {
    ArgSpec spec;
    size_t colon = word.find(':');
    if (colon == std::string_view::npos) bad_table("name:kind expected");
    std::string_view text = word.substr(colon + 1);
    size_t open = text.find('(');
    std::string_view kind = text.substr(0, open);
    for (const NamedKind& known : kKinds)
      if (known.name == kind) spec.kind = known.kind;
    if (spec.kind == Arg::kAbsent) bad_table("no such kind");
    bool wants = spec.kind >= Arg::kIn && spec.kind != Arg::kPtr;
    if (wants != (open != std::string_view::npos)) bad_table("parenthesis");
    if (!wants) return spec;
    if (text.back() != ')') bad_table("parenthesis");
    std::string_view inner = text.substr(open + 1, text.size() - open - 2);
    if (spec.kind == Arg::kSet || spec.kind == Arg::kEnum) {
      spec.names = names(inner);
    } else {
      length(spec, inner, args);
    }
    return spec;
  }

  static constexpr void parse(CallSpec& call, std::string_view args) {
    std::string_view rest = args;
    while (!rest.empty()) {
      if (call.count == 6) bad_table("more than six arguments");
      size_t blank = rest.find(' ');
      call.args[call.count++] = argument(rest.substr(0, blank), args);
      if (blank == std::string_view::npos) return;
      rest.remove_prefix(blank + 1);
    }
  }
};

/// Value of an argument as the kernel reads it: the 32-bit kinds lose their upper half.
constexpr uint64_t argument_value(const ArgSpec& spec, uint64_t raw) {
  switch (spec.kind) {
    case Arg::kInt: case Arg::kUint: case Arg::kPid: case Arg::kSig: case Arg::kFd: case Arg::kDirFd:
      return static_cast<uint32_t>(raw);
    default:
      return raw;
  }
}

/// Bytes of memory behind argument `index`, saturated at UINT64_MAX.
uint64_t argument_length(const CallSpec& call, unsigned index, const uint64_t args[6]);

}  // namespace km
