// SPDX-License-Identifier: Apache-2.0
// execve: a real execve of the monitor with the payload's new program. Descriptors, masks, ignored signals, pid and
// limits carry over because they are the host's; the monitor's own options travel as its arguments.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "native/base/log.h"
#include "native/km/options.h"
#include "native/loader/elf_read.h"
#include "native/loader/loader.h"
#include "native/machine/process.h"
#include "native/machine/signals.h"
#include "native/manage/report.h"
#include "native/syscalls/syscalls.h"

namespace km {
namespace {

constexpr size_t kMaxString = 128 * 1024;  // MAX_ARG_STRLEN
constexpr size_t kMaxTotal = 6 * 1024 * 1024;
constexpr int kExecveCheck = 0x10000;  // AT_EXECVE_CHECK, Linux 6.14

/// Copies a NULL-terminated array of strings. A NULL array is empty, as Linux has it.
int64_t copy_strings(uint64_t array, size_t* total, std::vector<std::string>* out) {
  std::vector<char> buffer(kMaxString);
  for (uint64_t at = array; array != 0; at += sizeof(uint64_t)) {
    uint64_t pointer = 0;
    if (copy_from_guest(&pointer, at, sizeof pointer) != 0) return -EFAULT;
    if (pointer == 0) return 0;
    int64_t length = copy_string_from_guest(buffer.data(), pointer, buffer.size());
    if (length == -ENAMETOOLONG) return -E2BIG;
    if (length < 0) return length;
    *total += static_cast<size_t>(length) + 1 + sizeof pointer;
    if (*total > kMaxTotal) return -E2BIG;
    out->emplace_back(buffer.data(), static_cast<size_t>(length));
  }
  return 0;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> list;
  for (std::string& s : strings) list.push_back(s.data());
  list.push_back(nullptr);
  return list;
}

/// Refuses, before the point of no return, what the next monitor could not run.
int64_t check_file(const std::string& file, const std::vector<std::string>& argv, Window window) {
  Program program;
  LoadError error;
  bool good = resolve_program(file, argv, &program, &error);
  if (good) {
    good = check_program(program, window, &error);
    close(program.fd);
  }
  if (good) return 0;
  KM_TRACE(Tag::kExec, "%s", error.message.c_str());
  return -error.error;
}

/// AT_EXECVE_CHECK: may the file be executed? Whether it is a program is not asked.
int64_t check_executable(const std::string& file) {
  LoadError error;
  const int fd = open_executable(file, &error);
  if (fd < 0) return -error.error;
  close(fd);
  return 0;
}

/// Lets the next monitor have `fd`, or takes it back.
void keep_over_exec(int fd, bool keep) { fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC); }

int64_t exec_file(GuestThread& thread, std::string file, std::vector<std::string> argv, std::vector<std::string> envp) {
  Process& p = *thread.process;
  if (file == "/proc/self/exe" || file == "/proc/" + std::to_string(getpid()) + "/exe") file = p.exe_path;
  if (argv.empty()) argv.emplace_back("");  // Linux >= 5.18 does so
  if (int64_t rc = check_file(file, argv, p.memory->window()); rc != 0) return rc;

  std::vector<std::string> words{"km"};
  for (const std::string& option : p.options->carried) words.push_back(option);
  const int report = report_descriptor();
  if (report >= 0) words.push_back("--status-fd=" + std::to_string(report));
  const int log = log_file();
  if (log >= 0) words.push_back("--log-fd=" + std::to_string(log));
  words.push_back("--argv0=" + argv.front());
  const Handed handed{p.driver->fd(), p.self_fd, p.driver->path()};
  words.push_back("--handed=" + to_text(handed));
  words.emplace_back("--");
  words.push_back(file);
  words.insert(words.end(), argv.begin() + 1, argv.end());
  KM_TRACE(Tag::kExec, "exec %s", file.c_str());
  std::vector<char*> argument_list = pointers(words), environment = pointers(envp);
  keep_over_exec(handed.device, true);
  keep_over_exec(handed.self, true);
  keep_over_exec(report, true);
  keep_over_exec(log, true);
  // By descriptor: works after chroot and without /proc.
  const int64_t rc = host_syscall(
      SYS_execveat, p.self_fd, reinterpret_cast<uint64_t>(""), reinterpret_cast<uint64_t>(argument_list.data()),
      reinterpret_cast<uint64_t>(environment.data()), AT_EMPTY_PATH);
  keep_over_exec(handed.device, false);
  keep_over_exec(handed.self, false);
  keep_over_exec(report, false);
  keep_over_exec(log, false);
  return rc;
}

int64_t exec_guest(GuestThread& thread, const std::string& file, uint64_t argv_array, uint64_t envp_array) {
  std::vector<std::string> argv, envp;
  size_t total = 0;
  if (int64_t rc = copy_strings(argv_array, &total, &argv); rc != 0) return rc;
  if (int64_t rc = copy_strings(envp_array, &total, &envp); rc != 0) return rc;
  return exec_file(thread, file, std::move(argv), std::move(envp));
}

/// Path of an open descriptor; a deleted or anonymous file keeps its /proc name, which only an inheritable
/// descriptor survives.
int64_t path_of_fd(int fd, std::string* path) {
  std::string link = "/proc/self/fd/" + std::to_string(fd);
  char target[PATH_MAX];
  ssize_t length = readlink(link.c_str(), target, sizeof target - 1);
  if (length < 0) return -EBADF;
  target[length] = 0;
  struct stat by_path, by_fd;
  bool same = stat(target, &by_path) == 0 && fstat(fd, &by_fd) == 0 && by_path.st_ino == by_fd.st_ino &&
              by_path.st_dev == by_fd.st_dev;
  if (same) {
    *path = target;
    return 0;
  }
  int flags = fcntl(fd, F_GETFD);
  if (flags < 0) return -EBADF;
  if (flags & FD_CLOEXEC) {
    KM_LOG("execveat of a deleted or anonymous file needs a descriptor without FD_CLOEXEC");
    return -ENOSYS;
  }
  *path = link;
  return 0;
}

}  // namespace

int64_t sys_execve(GuestThread& thread, const uint64_t args[6]) {
  char file[PATH_MAX];
  if (int64_t length = copy_string_from_guest(file, args[0], sizeof file); length < 0) return length;
  return exec_guest(thread, file, args[1], args[2]);
}

int64_t sys_execveat(GuestThread& thread, const uint64_t args[6]) {
  auto dirfd = static_cast<int>(args[0]);
  auto flags = static_cast<int>(args[4]);
  char file[PATH_MAX];
  std::string path;
  if (int64_t length = copy_string_from_guest(file, args[1], sizeof file); length < 0) return length;
  if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | kExecveCheck)) return -EINVAL;
  if (file[0] == 0) {
    if (!(flags & AT_EMPTY_PATH)) return -ENOENT;
    if (int64_t rc = path_of_fd(dirfd, &path); rc != 0) return rc;
  } else if (file[0] == '/' || dirfd == AT_FDCWD) {
    path = file;
  } else {
    if (int64_t rc = path_of_fd(dirfd, &path); rc != 0) return rc;
    path += "/";
    path += file;
  }
  struct stat st;
  if ((flags & AT_SYMLINK_NOFOLLOW) && lstat(path.c_str(), &st) == 0 && S_ISLNK(st.st_mode)) return -ELOOP;
  if (flags & kExecveCheck) return check_executable(path);
  return exec_guest(thread, path, args[2], args[3]);
}

}  // namespace km
