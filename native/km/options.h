// SPDX-License-Identifier: Apache-2.0
// km's command line and environment: `km [options] program [arguments...]`. What exists is data in
// options_table.cc.
#pragma once

#include <string>
#include <vector>

#include "native/confine/confine.h"

namespace km {

using Strings = std::vector<std::string>;

/// Descriptors one monitor leaves open for the next at the payload's execve: after chroot or setuid it could not open
/// them itself. Written and read as "DEVICE,SELF,PATH".
struct Handed {
  int device = -1;
  int self = -1;            ///< the monitor's executable
  std::string device_path;  ///< what the device was opened as
};

std::string to_text(const Handed& handed);
bool from_text(const std::string& text, Handed* handed);

struct Options {
  std::string program;       ///< as typed; not yet looked up
  Strings argv;              ///< of the payload, argv[0] included
  Strings envp;              ///< of the payload
  bool verbose = false;      ///< -V or KM_VERBOSE
  std::string verbose_tags;  ///< regular expression; empty: all
  std::string km_log_to;     ///< empty: stderr
  std::string log_to;        ///< payload's stdout and stderr; empty: inherited
  bool wait_for_signal = false;
  bool dump_shutdown = false;
  bool core_on_err = false;
  bool overcommit_memory = false;
  bool hcall_stats = false;
  bool kill_unimplemented = false;
  bool kontain_vendor_id = false;
  unsigned membus_width = 0;  ///< guest-physical address bits; 0: what the device offers
  std::string device;         ///< empty: search
  std::string trace;          ///< what trace_syscalls() takes; empty: nothing
  int status_fd = -1;         ///< where to report to the launcher; -1: nowhere
  confine::Limits limits;     ///< what the monitor gives up
  int log_fd = -1;            ///< the log as the monitor before had it open; -1: see km_log_to
  bool from_exec = false;     ///< started by another km on behalf of its payload's execve
  Handed handed;              ///< with from_exec
  Strings carried;            ///< options for the monitor of the next program when the payload execs
};

enum class Command {
  kRun,         ///< Options are complete
  kPrint,       ///< print the text on stdout and exit 0 (--help, --version)
  kUsageError,  ///< the text is one line for stderr; exit with kUsageStatus
};

constexpr int kUsageStatus = 1;

/// Reads the arguments behind argv[0]. Pure: no file, no global state is touched.
Command parse_options(const Strings& arguments, const Strings& environment, Options* options,
                      std::string* text);

/// When km was started through a symbolic link of another name than "km", `<directory of the
/// link>/<name>.km`: that is the payload, and every argument is the payload's. Else empty. `execfn`: what the
/// kernel executed (AT_EXECFN).
std::string payload_beside_link(const std::string& argv0, const std::string& execfn);

/// parse_options() or payload_beside_link(), whichever applies. `argv` and `envp` are main's.
Command read_command_line(char** argv, char** envp, const std::string& execfn, Options* options,
                          std::string* text);

/// Puts into effect what belongs to the whole process: log, traces, counters, --kill-unimpl-scall, --log-to.
/// Returns false with one line for the user in `text`. File names in `carried` become absolute, as the
/// payload may change its directory before it execs.
bool apply_options(Options& options, std::string* text);

}  // namespace km
