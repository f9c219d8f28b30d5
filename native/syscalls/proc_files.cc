// SPDX-License-Identifier: Apache-2.0
// Which files of /proc are refused or replaced.
//
// Names are judged after the open, by what the descriptor turned out to be: symbolic links, bind mounts, chroot and
// races cannot fool that. fstatfs says that a file is procfs's, the descriptor's own link says which.
#include "native/syscalls/proc_files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string_view>
#include <vector>

#include "native/base/log.h"
#include "native/base/private_fd.h"
#include "native/syscalls/internal.h"

#ifndef STATX_ATTR_MOUNT_ROOT
#define STATX_ATTR_MOUNT_ROOT 0x2000
#endif

namespace km {
namespace {

constexpr uint64_t fd_word(int fd) { return static_cast<uint64_t>(static_cast<int64_t>(fd)); }

/// The monitor's own handle on procfs: still good after the payload's chroot. -1 where there is no /proc.
int proc_root() {
  static std::atomic<int> cached{-1};
  int fd = cached.load(std::memory_order_acquire);
  if (fd >= 0) return fd;
  int64_t opened = host_syscall(SYS_openat, fd_word(AT_FDCWD), word("/proc"), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) return -1;
  struct statfs fs;
  if (host_syscall(SYS_fstatfs, static_cast<uint64_t>(opened), word(&fs)) != 0 || fs.f_type != PROC_SUPER_MAGIC) {
    host_syscall(SYS_close, static_cast<uint64_t>(opened));
    return -1;
  }
  int moved = make_private_fd(static_cast<int>(opened));
  if (moved < 0) {
    host_syscall(SYS_close, static_cast<uint64_t>(opened));
    return -1;
  }
  int none = -1;
  if (cached.compare_exchange_strong(none, moved)) return moved;
  close_private_fd(moved);
  return none;
}

/// Link text of an own descriptor; length or -errno.
int64_t fd_link(int fd, char* buffer, size_t size) {
  char name[32];
  snprintf(name, sizeof(name), "self/fd/%d", fd);
  int root = proc_root();
  if (root < 0) return -ENOENT;
  int64_t length = host_syscall(SYS_readlinkat, fd_word(root), word(name), word(buffer), size - 1);
  if (length >= 0) buffer[length] = '\0';
  return length;
}

bool is_number(std::string_view text) {
  return !text.empty() && text.size() < 11 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Splits at slashes, leaving out empty parts.
std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    size_t slash = path.find('/');
    if (slash != 0) parts.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return parts;
}

/// A file below a process's directory in procfs: `.../<pid>/<name>` or `.../<pid>/task/<tid>/<name>`.
struct ProcFile {
  bool own = false;       ///< of this process
  std::string directory;  ///< "" or "task/<tid>/"
  std::string_view name;  ///< last part
};

ProcFile classify(std::string_view path) {
  ProcFile file;
  std::vector<std::string_view> parts = parts_of(path);
  if (parts.empty()) return file;
  file.name = parts.back();
  size_t n = parts.size();
  std::string_view pid;
  if (n >= 4 && parts[n - 3] == "task" && is_number(parts[n - 2])) {
    pid = parts[n - 4];
    file.directory = "task/" + std::string(parts[n - 2]) + "/";
  } else if (n >= 2) {
    pid = parts[n - 2];
  }
  file.own = is_number(pid) && atoi(std::string(pid).c_str()) == getpid();
  return file;
}

/// Files that lead to memory (this process's holds the monitor), and a directory of links to mapped files.
bool leads_to_memory(std::string_view path, const struct stat& st) {
  std::string_view name = path.substr(path.rfind('/') + 1);
  if (path.find("/map_files") != std::string_view::npos) return true;
  if (!S_ISREG(st.st_mode)) return false;
  return name == "mem" || name == "kcore" || name == "pagemap";
}

/// A *file* of procfs that is a mount's root was bind-mounted: its link no longer tells what it is.
bool is_disguised(int fd, const struct stat& st) {
  if (S_ISDIR(st.st_mode)) return false;
  struct statx sx;
  if (host_syscall(SYS_statx, fd_word(fd), word(""), AT_EMPTY_PATH, 0, word(&sx)) != 0) return false;
  return (sx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) && (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

int64_t deny(int fd, const char* link) {
  static std::atomic<int> lines{0};
  if (lines.fetch_add(1, std::memory_order_relaxed) < 16) KM_LOG("opening %s is refused: it leads to the monitor or to memory", link);
  host_syscall(SYS_close, fd_word(fd));
  return -EACCES;
}

/// A sealed memory file with `text`, opened read-only; fd or -errno.
int64_t sealed_file(const std::string& text) {
  int64_t fd = host_syscall(SYS_memfd_create, word("proc"), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return fd;
  size_t done = 0;
  while (done < text.size()) {
    int64_t n = host_syscall(SYS_write, static_cast<uint64_t>(fd), word(text.data() + done), text.size() - done);
    if (n == -EINTR) continue;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  host_syscall(SYS_fcntl, static_cast<uint64_t>(fd), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  char name[32];
  snprintf(name, sizeof(name), "fd/%d", static_cast<int>(fd));
  int64_t reader = open_own_proc(name);
  host_syscall(SYS_close, static_cast<uint64_t>(fd));
  return reader;
}

/// Makes number `fd` stand for `other`, which is closed.
int64_t replace_fd(int fd, int64_t other, int flags) {
  if (other < 0) {
    host_syscall(SYS_close, fd_word(fd));
    return other;
  }
  int64_t result = host_syscall(SYS_dup3, static_cast<uint64_t>(other), fd_word(fd), static_cast<uint64_t>(flags) & O_CLOEXEC);
  host_syscall(SYS_close, static_cast<uint64_t>(other));
  return result;
}

int64_t review_proc(int fd, int flags) {
  char link[PATH_MAX];
  struct stat st;
  if (host_syscall(SYS_fstat, fd_word(fd), word(&st)) != 0 || fd_link(fd, link, sizeof(link)) < 0)
    return deny(fd, "a file of an unknown /proc");
  if (leads_to_memory(link, st) || is_disguised(fd, st)) return deny(fd, link);
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_PATH) || !S_ISREG(st.st_mode)) return fd;
  ProcFile file = classify(link);
  std::string text;
  if (!file.own || !own_proc_text(file.directory, std::string(file.name), &text)) return fd;
  return replace_fd(fd, sealed_file(text), flags);
}

bool same_file(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

const struct stat* monitor_stat() {
  static struct stat st;
  static const bool known = host_syscall(SYS_fstat, fd_word(process().self_fd), word(&st)) == 0;
  return known ? &st : nullptr;
}

/// True when a file is the device the machine was made on: reached through a descriptor of a monitor, for the payload's
/// own would be a name in /dev.
bool is_device(const struct stat& st) {
  struct stat device;
  return S_ISCHR(st.st_mode) && process().driver != nullptr &&
         host_syscall(SYS_fstat, fd_word(process().driver->fd()), word(&device)) == 0 && same_file(st, device);
}

/// True when a regular file is one the monitor has open and the payload was not given (log, state): reached through
/// /proc/self/fd/N.
bool is_private_file(const struct stat& st) {
  struct stat other;
  for (int fd = 0; fd <= 2; fd++)
    if (host_syscall(SYS_fstat, fd_word(fd), word(&other)) == 0 && same_file(st, other)) return false;
  for (int fd = next_private_fd(0); fd >= 0; fd = next_private_fd(static_cast<unsigned>(fd) + 1))
    if (host_syscall(SYS_fstat, fd_word(fd), word(&other)) == 0 && same_file(st, other)) return true;
  return false;
}

/// A file reached through a magic link (/proc/PID/exe, fd/N, ...).
int64_t review_magic(int fd, int flags) {
  struct stat st;
  if (host_syscall(SYS_fstat, fd_word(fd), word(&st)) != 0) return fd;
  if (is_device(st)) return deny(fd, "a descriptor of the monitor");
  if (!S_ISREG(st.st_mode)) return fd;
  const struct stat* monitor = monitor_stat();
  if (monitor != nullptr && same_file(st, *monitor)) {
    int64_t program = host_syscall(SYS_openat, fd_word(AT_FDCWD), word(process().exe_path.c_str()),
                                   static_cast<uint64_t>(flags & ~(O_CREAT | O_TRUNC | O_EXCL)) | O_CLOEXEC);
    return replace_fd(fd, program, flags);
  }
  return is_private_file(st) ? deny(fd, "a descriptor of the monitor") : fd;
}

}  // namespace

void hold_proc() { proc_root(); }

int64_t open_own_proc(const char* name) {
  char path[128];
  int root = proc_root();
  if (root < 0) return -ENOENT;
  snprintf(path, sizeof(path), "self/%s", name);
  return host_syscall(SYS_openat, fd_word(root), word(path), O_RDONLY | O_CLOEXEC);
}

int64_t review_opened_fd(int fd, int flags, bool magic) {
  struct statfs fs;
  if (host_syscall(SYS_fstatfs, fd_word(fd), word(&fs)) != 0) return fd;
  if (fs.f_type == PROC_SUPER_MAGIC) return review_proc(fd, flags);
  return magic ? review_magic(fd, flags) : fd;
}

PathView view_path(const char* path) {
  PathView view;
  const bool short_name = strncmp(path, "/dev/fd/", 8) == 0;  // a link to /proc/self/fd
  if (!short_name && strncmp(path, "/proc/", 6) != 0) return view;
  std::vector<std::string_view> parts = parts_of(path + (short_name ? 5 : 6));
  if (short_name) parts.insert(parts.begin(), "self");
  if (parts.size() < 2) return view;
  const bool self = parts[0] == "self" || parts[0] == "thread-self" ||
                    (is_number(parts[0]) && atoi(std::string(parts[0]).c_str()) == getpid());
  if (!self) return view;
  parts.erase(parts.begin());
  if (parts.size() >= 3 && parts[0] == "task" && is_number(parts[1])) parts.erase(parts.begin(), parts.begin() + 2);
  if (parts.size() == 1 && parts[0] == "exe") view.instead = process().exe_path.c_str();
  if (parts.size() == 2 && (parts[0] == "fd" || parts[0] == "fdinfo") && is_number(parts[1]))
    view.hidden = is_private_fd(atoi(std::string(parts[1]).c_str()));
  return view;
}

bool is_monitor_path(const char* path, size_t length) {
  static const std::string own = [] {
    char link[PATH_MAX];
    return fd_link(process().self_fd, link, sizeof(link)) > 0 ? std::string(link) : std::string();
  }();
  return !own.empty() && own.size() == length && memcmp(own.data(), path, length) == 0;
}

namespace {

/// Whether an own directory of procfs must not show this number: a descriptor of the monitor, or a thread that is not
/// the payload's (KVM's, the management plane's).
bool hides_entry(std::string_view directory, int number) {
  if (directory != "task") return is_private_fd(number);
  Process& p = process();
  std::lock_guard<std::mutex> guard(p.threads_lock);
  for (const GuestThread* thread : p.threads) {
    if (thread->tid == number) return false;
  }
  return number != getpid();
}

}  // namespace

int64_t filter_fd_entries(int fd, uint64_t entries, int64_t length, unsigned name_offset) {
  struct statfs fs;
  if (length <= 0 || host_syscall(SYS_fstatfs, fd_word(fd), word(&fs)) != 0) return length;
  if (fs.f_type != PROC_SUPER_MAGIC) return length;
  char link[PATH_MAX];
  if (fd_link(fd, link, sizeof(link)) < 0) return length;
  ProcFile directory = classify(link);
  if (!directory.own || (directory.name != "fd" && directory.name != "fdinfo" && directory.name != "task"))
    return length;

  std::vector<char> bytes(static_cast<size_t>(length));
  if (int error = copy_from_guest(bytes.data(), entries, bytes.size()); error != 0) return error;
  size_t kept = 0;
  for (size_t at = 0; at + name_offset < bytes.size();) {
    uint16_t record;
    memcpy(&record, &bytes[at + 16], sizeof(record));  // d_reclen, both kinds: linux_dirent(64), getdents(2)
    if (record <= name_offset || record > bytes.size() - at) return -EIO;  // the payload changed them meanwhile
    const char* name = &bytes[at + name_offset];
    std::string_view text(name, strnlen(name, record - name_offset));
    if (!is_number(text) || !hides_entry(directory.name, atoi(std::string(text).c_str()))) {
      memmove(&bytes[kept], &bytes[at], record);
      kept += record;
    }
    at += record;
  }
  if (int error = copy_to_guest(entries, bytes.data(), kept); error != 0) return error;
  return static_cast<int64_t>(kept);
}

}  // namespace km
