// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "native/loader/elf_read.h"
#include "native/loader/loader.h"
#include "native/loader/shebang.h"

namespace km {
namespace {

constexpr const char* kDefaultPath = "/bin:/usr/bin";  // execvp(3)

bool is_executable_file(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
         faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0;
}

/// What /proc/self/exe would say. The kernel knows it even for memfds and where realpath(3) may not look.
std::string path_of(int fd, const std::string& typed) {
  char link[32], target[PATH_MAX];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, target, sizeof(target));
  if (n > 0 && static_cast<size_t>(n) < sizeof(target)) return std::string(target, static_cast<size_t>(n));
  char* real = realpath(typed.c_str(), nullptr);  // no /proc here
  if (real == nullptr) return typed;
  std::string path(real);
  free(real);
  return path;
}

/// argv of `interpreter [argument] script args...`; the script's own argv[0] is dropped (execve(2)).
std::vector<std::string> script_argv(const Shebang& line, const std::string& script,
                                     std::vector<std::string> argv) {
  std::vector<std::string> result{line.interpreter};
  if (line.has_argument) result.push_back(line.argument);
  result.push_back(script);
  for (size_t i = 1; i < argv.size(); i++) result.push_back(std::move(argv[i]));
  return result;
}

enum class Step { kProgram, kScript, kFailed };

/// Looks at one open file of the chain. kScript: `file` and `argv` now are the interpreter's.
Step look_at(int fd, std::string* file, std::vector<std::string>* argv, LoadError* error) {
  uint8_t first[kShebangSize];
  int64_t got = read_at(fd, 0, first, sizeof(first));
  if (got < 0) {
    fail(error, static_cast<int>(-got), "cannot be read: %s", strerror(static_cast<int>(-got)));
    return Step::kFailed;
  }
  std::span<const uint8_t> bytes(first, static_cast<size_t>(got));
  Shebang line;
  switch (parse_shebang(bytes, &line)) {
    case ShebangKind::kNone: {
      ElfHeader header;
      if (bytes.empty())
        fail(error, ENOEXEC, "is empty; it is not a program");
      else if (parse_elf_header(bytes, &header, error))
        return Step::kProgram;
      return Step::kFailed;
    }
    case ShebangKind::kBroken:
      fail(error, ENOEXEC, "names no interpreter after #! (or a name of more than %zu bytes)",
           kShebangSize - 3);
      return Step::kFailed;
    case ShebangKind::kScript:
      break;
  }
  if (line.interpreter.empty()) {  // to Linux an empty name is the current directory
    fail(error, EACCES, "has a NUL byte where #! should name an interpreter");
    return Step::kFailed;
  }
  *argv = script_argv(line, *file, std::move(*argv));
  *file = line.interpreter;
  return Step::kScript;
}

/// Names the file of the chain a message is about.
bool fail_step(LoadError* error, const std::string& typed, const std::string& file, int depth) {
  if (depth > 0) error->message = "its interpreter '" + file + "' " + error->message;
  return fail_in(error, typed);
}

}  // namespace

std::string find_command(const std::string& name, const char* path) {
  if (name.empty() || name.find('/') != name.npos) return name;
  std::string list = path != nullptr ? path : kDefaultPath;
  for (size_t at = 0; at <= list.size();) {
    size_t end = std::min(list.find(':', at), list.size());
    std::string directory = list.substr(at, end - at);
    std::string candidate = directory.empty() ? name : directory + "/" + name;
    if (is_executable_file(candidate)) return candidate;
    at = end + 1;
  }
  return name;
}

bool resolve_program(const std::string& file, std::vector<std::string> argv, Program* program,
                     LoadError* error) {
  std::string current = file;
  if (argv.empty()) argv.push_back("");  // Linux since 5.18: argc is never 0
  for (int depth = 0; depth <= kMaxScriptDepth; depth++) {
    int fd = open_executable(current, error);
    if (fd < 0) return fail_step(error, file, current, depth);
    std::string opened = current;
    Step step = look_at(fd, &current, &argv, error);
    if (step == Step::kProgram) {
      program->fd = fd;
      program->path = path_of(fd, opened);
      program->execfn = file;
      program->argv = std::move(argv);
      return true;
    }
    close(fd);
    if (step == Step::kFailed) return fail_step(error, file, opened, depth);
  }
  fail(error, ELOOP,
       "is a script whose interpreters are scripts, more than %d deep; name a program in its #! line",
       kMaxScriptDepth);
  return fail_in(error, file);
}

}  // namespace km
