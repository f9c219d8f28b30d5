// SPDX-License-Identifier: Apache-2.0
#include "native/km/options_table.h"

#include <charconv>

namespace km {
namespace {

constexpr unsigned kMinBusWidth = 32, kMaxBusWidth = 62;

template <bool Options::*Flag>
bool set_flag(ParseState& state, const std::string&, std::string*) {
  state.options->*Flag = true;
  return true;
}

template <std::string Options::*Text>
bool set_word(ParseState& state, const std::string& value, std::string* why) {
  if (value.empty()) {
    *why = "needs a value that is not empty";
    return false;
  }
  state.options->*Text = value;
  return true;
}

bool set_verbose(ParseState& state, const std::string& value, std::string*) {
  state.options->verbose = true;
  state.options->verbose_tags = value;
  return true;
}

bool set_bus_width(ParseState& state, const std::string& value, std::string* why) {
  unsigned bits = 0;
  for (char c : value) {
    if (c < '0' || c > '9' || bits > kMaxBusWidth) {
      bits = 0;
      break;
    }
    bits = bits * 10 + static_cast<unsigned>(c - '0');
  }
  if (bits >= kMinBusWidth && bits <= kMaxBusWidth) {
    state.options->membus_width = bits;
    return true;
  }
  *why = "needs a number from " + std::to_string(kMinBusWidth) + " to " + std::to_string(kMaxBusWidth) +
         ", not '" + value + "'";
  return false;
}

bool add_putenv(ParseState& state, const std::string& value, std::string* why) {
  size_t equals = value.find('=');
  if (equals == 0 || equals == value.npos) {
    *why = "needs NAME=VALUE, not '" + value + "'";
    return false;
  }
  state.putenv.push_back(value);
  return true;
}

bool set_copyenv(ParseState& state, const std::string& value, std::string* why) {
  if (state.copyenv_given) {
    *why = "may be given once; join the prefixes: A=B=C";
    return false;
  }
  state.copyenv_given = true;
  for (size_t at = 0; at <= value.size();) {
    size_t end = value.find('=', at);
    if (end == value.npos) end = value.size();
    if (end > at) state.copyenv.push_back(value.substr(at, end - at));
    at = end + 1;
  }
  if (!state.copyenv.empty()) return true;
  *why = "needs prefixes of variables to leave out: A=B=C";
  return false;
}

bool set_handed(ParseState& state, const std::string& value, std::string* why) {
  if (from_text(value, &state.options->handed)) return true;
  *why = "needs DEVICE,SELF,PATH, not '" + value + "'";
  return false;
}

bool set_seccomp(ParseState& state, const std::string& value, std::string* why) {
  using confine::Seccomp;
  confine::Seccomp& mode = state.options->limits.seccomp;
  if (value == "on") mode = Seccomp::kOn;
  else if (value == "off") mode = Seccomp::kOff;
  else if (value == "log") mode = Seccomp::kLog;
  else *why = "needs on, off or log, not '" + value + "'";
  return why->empty();
}

bool add_landlock(ParseState& state, const std::string& value, std::string* why) {
  confine::FileRule rule;
  if (!confine::from_text(value, &rule)) {
    *why = "needs PATH:ro or PATH:rw, not '" + value + "'";
    return false;
  }
  state.options->limits.files.push_back(rule);
  return true;
}

bool set_argv0(ParseState& state, const std::string& value, std::string*) {
  state.argv0 = value;
  state.argv0_given = true;
  state.options->from_exec = true;
  return true;
}

template <int Options::*fd>
bool set_fd(ParseState& state, const std::string& value, std::string* why) {
  constexpr int kMost = 1 << 20;
  int& number = state.options->*fd;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error == std::errc() && end == value.data() + value.size() && number >= 0 && number < kMost) return true;
  *why = "needs the number of an open descriptor, not '" + value + "'";
  return false;
}

bool print_version(ParseState& state, const std::string&, std::string*) {
  state.print = version_text();
  return true;
}

bool print_help(ParseState& state, const std::string& value, std::string* why) {
  if (value.empty()) {
    state.print = help_text();
  } else if (value == "markdown") {
    state.print = help_markdown();
  } else {
    *why = "can only be followed by =markdown";
    return false;
  }
  return true;
}

using enum OptionArg;
using enum OptionKind;

constexpr OptionSpec kOptions[] = {
    {"verbose", 'V', kOptional, kNormal, "REGEX",
     "Log what the monitor does; with REGEX (extended, any case) only the tags that match.", set_verbose},
    {"trace", 0, kRequired, kNormal, "CALLS",
     "Log the payload's system calls, decoded: names of calls and classes "
     "(file,desc,net,process,memory,signal,...,all), "
     "separated by commas; ! in front of one leaves it out.",
     set_word<&Options::trace>},
    {"km-log-to", 'k', kRequired, kNormal, "FILE",
     "Where the monitor's own log goes: a file (appended to), stderr or none. Default: stderr.",
     set_word<&Options::km_log_to>},
    {"log-to", 'l', kRequired, kStart, "FILE", "Append the payload's stdout and stderr to FILE.",
     set_word<&Options::log_to>},
    {"putenv", 'e', kRequired, kStart, "NAME=VALUE",
     "Give the payload this variable instead of the whole host environment; repeatable.", add_putenv},
    {"copyenv", 'E', kRequired, kStart, "A=B=C",
     "Give the payload the host environment without the variables whose names start with A, B or C. Not "
     "together with "
     "--putenv.",
     set_copyenv},
    {"virt-device", 'F', kRequired, kNormal, "FILE",
     "Use exactly this device. Default: the first of /dev/kontain, /dev/kvm, /dev/kkm that works.",
     set_word<&Options::device>},
    {"membus-width", 'P', kRequired, kNormal, "BITS",
     "Guest-physical address bits, 32 to 62, in place of what the device offers. Payloads use at most 512 "
     "GiB.",
     set_bus_width},
    {"hcall-stats", 'S', kNone, kNormal, "", "Print counts and times of system calls at exit.",
     set_flag<&Options::hcall_stats>},
    {"kill-unimpl-scall", 0, kNone, kNormal, "",
     "Send SIGSYS for a system call that is not implemented, instead of returning ENOSYS.",
     set_flag<&Options::kill_unimplemented>},
    {"overcommit-memory", 0, kNone, kNormal, "", "Reserve no swap for payload memory (MAP_NORESERVE).",
     set_flag<&Options::overcommit_memory>},
    {"landlock", 0, kRequired, kStart, "PATH:RIGHTS",
     "Let the payload open only what is at or below PATH, for reading (RIGHTS is ro) or also for writing (rw); "
     "repeatable. Holds for all it starts.",
     add_landlock},
    {"seccomp", 0, kRequired, kNormal, "MODE",
     "Limit the system calls the monitor itself can make: on (the default), off, or log (they happen, and the kernel's "
     "log says so).",
     set_seccomp},
    {"wait-for-signal", 0, kNone, kStart, "", "Wait for SIGUSR1 before the payload starts.",
     set_flag<&Options::wait_for_signal>},
    {"dump-shutdown", 0, kNone, kNormal, "", "Dump the registers when the virtual machine breaks down.",
     set_flag<&Options::dump_shutdown>},
    {"core-on-err", 0, kNone, kNormal, "", "Abort with a core dump of the monitor on its own fatal errors.",
     set_flag<&Options::core_on_err>},
    {"vendorid", 0, kNone, kNormal, "", "Show the payload \"Kontain\" as CPUID vendor.",
     set_flag<&Options::kontain_vendor_id>},
    {"version", 'v', kNone, kStart, "", "Print the version and exit.", print_version},
    {"help", 'h', kOptional, kStart, "", "Print this text and exit.", print_help},

    {"enable-1g-pages", 0, kNone, kNoEffect, "", "Guest page tables use 4 KiB and 2 MiB pages.", nullptr},
    {"disable-1g-pages", 0, kNone, kNoEffect, "", "Guest page tables use 4 KiB and 2 MiB pages.", nullptr},

    {"argv0", 0, kRequired, kInternal, "NAME", "", set_argv0},
    {"handed", 0, kRequired, kInternal, "DEVICE,SELF,PATH", "", set_handed},
    {"status-fd", 0, kRequired, kInternal, "FD", "", set_fd<&Options::status_fd>},
    {"log-fd", 0, kRequired, kInternal, "FD", "", set_fd<&Options::log_fd>},

    {"gdb-server-port", 'g', kOptional, kUnavailable, "PORT", "Debug the payload with gdb.", nullptr},
    {"gdb-listen", 0, kNone, kUnavailable, "", "Let gdb attach later.", nullptr},
    {"gdb-dynlink", 0, kNone, kUnavailable, "", "Wait for gdb at the dynamic linker's entry.", nullptr},
    {"coredump", 'C', kRequired, kUnavailable, "FILE", "Where to write the payload's core dump.", nullptr},
    {"snapshot", 0, kRequired, kUnavailable, "FILE", "Where to write snapshots.", nullptr},
    {"mgtpipe", 0, kRequired, kUnavailable, "PATH", "Management socket.", nullptr},
};

constexpr EnvironmentSpec kEnvironment[] = {
    {"KM_VERBOSE", "As --verbose; empty: every tag."},
    {"KM_LOGTO", "As --km-log-to, which goes before it."},
    {"KM_KILL_UNIMPL_SCALL", "Present: as --kill-unimpl-scall."},
};

}  // namespace

std::span<const OptionSpec> option_table() { return kOptions; }
std::span<const EnvironmentSpec> environment_table() { return kEnvironment; }

}  // namespace km
