// SPDX-License-Identifier: Apache-2.0
// Calls that name files: what opens is reviewed, the payload's own exe link is its program, nested addresses are copied.
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "native/base/private_fd.h"
#include "native/syscalls/internal.h"
#include "native/syscalls/proc_files.h"

namespace km {
namespace {

constexpr uint64_t kCwd = static_cast<uint64_t>(AT_FDCWD);
constexpr uint64_t kLargeFile = 0100000;  // O_LARGEFILE, which open(2) adds by itself on 64-bit
constexpr uint64_t kTmpfileBit = 020000000;

/// Flags open(2) knows; it ignores the rest where openat2(2) refuses it.
constexpr uint64_t kOpenFlags = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |
                                O_ASYNC | O_DIRECT | kLargeFile | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC |
                                O_PATH | kTmpfileBit;
constexpr uint64_t kPathFlags = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;

int64_t reviewed(int64_t fd, uint64_t flags, bool magic) {
  return fd < 0 ? fd : review_opened_fd(static_cast<int>(fd), static_cast<int>(flags), magic);
}

/// The first try refuses magic links, so that the common case needs no look at what was opened beyond its type.
/// ENOSYS, EPERM: kernels before 5.6, and container runtimes that do not know openat2.
bool needs_second_try(int64_t result) { return result == -ELOOP || result == -ENOSYS || result == -EPERM; }

/// What a short path of the payload means; long ones name nothing special.
PathView view_of(uint64_t path) {
  char text[64];
  if (path == 0 || copy_string_from_guest(text, path, sizeof(text)) < 0) return {};
  return view_path(text);
}

int64_t open_at(GuestThread& thread, uint64_t dir, uint64_t path, uint64_t flags, uint64_t mode) {
  flags = static_cast<uint32_t>(flags);
  if (view_of(path).hidden) return -ENOENT;
  open_how how{};
  how.flags = (flags & kOpenFlags) | kLargeFile;
  if (how.flags & O_PATH) how.flags &= kPathFlags;
  if (how.flags & (O_CREAT | kTmpfileBit)) how.mode = mode & 07777;
  how.resolve = RESOLVE_NO_MAGICLINKS;
  int64_t fd = forward(thread, SYS_openat2, dir, path, word(&how), sizeof(how));
  if (!needs_second_try(fd)) return reviewed(fd, flags, false);
  fd = forward(thread, SYS_openat, dir, path, flags, mode);
  return reviewed(fd, flags, true);
}

/// Forwards (args with a path at `index`) so that the payload's exe link means its program. `follows`: the call goes
/// through a final link.
int64_t with_path(GuestThread& thread, int64_t nr, const uint64_t args[6], unsigned index, bool follows) {
  PathView view = view_of(args[index]);
  if (view.hidden) return -ENOENT;
  if (view.instead == nullptr || !follows) return forward_syscall(thread, nr, args);
  uint64_t changed[6];
  std::copy(args, args + 6, changed);
  changed[index] = word(view.instead);
  return forward_syscall(thread, nr, changed);
}

int64_t give_link(uint64_t buffer, uint64_t size, const char* text, size_t length) {
  if (static_cast<int>(size) <= 0) return -EINVAL;
  length = std::min<size_t>(length, static_cast<uint32_t>(size));
  int error = copy_to_guest(buffer, text, length);
  return error != 0 ? error : static_cast<int64_t>(length);
}

int64_t read_link(GuestThread& thread, uint64_t dir, uint64_t path, uint64_t buffer, uint64_t size) {
  const std::string& program = process().exe_path;
  PathView view = view_of(path);
  if (view.hidden) return -ENOENT;
  if (view.instead != nullptr) return give_link(buffer, size, program.data(), program.size());
  int64_t length = forward(thread, SYS_readlinkat, dir, path, buffer, size);
  // However it was reached (chdir to /proc/self, a link to it): the monitor's name means the payload's program.
  char text[PATH_MAX];
  if (length <= 0 || length >= PATH_MAX || copy_from_guest(text, buffer, static_cast<size_t>(length)) != 0) return length;
  if (!is_monitor_path(text, static_cast<size_t>(length))) return length;
  return give_link(buffer, size, program.data(), program.size());
}

}  // namespace

int64_t sys_open(GuestThread& t, const uint64_t args[6]) { return open_at(t, kCwd, args[0], args[1], args[2]); }
int64_t sys_openat(GuestThread& t, const uint64_t args[6]) { return open_at(t, args[0], args[1], args[2], args[3]); }
int64_t sys_creat(GuestThread& t, const uint64_t args[6]) {
  return open_at(t, kCwd, args[0], O_CREAT | O_WRONLY | O_TRUNC, args[1]);
}

int64_t sys_openat2(GuestThread& thread, const uint64_t args[6]) {
  struct {
    open_how how;
    char more[4096 - sizeof(open_how)];
  } in{};
  const uint64_t size = args[3];
  if (size < sizeof(open_how)) return -EINVAL;
  if (size > sizeof(in)) return -E2BIG;
  if (int error = copy_from_guest(&in, args[2], size); error != 0) return error;
  if (view_of(args[1]).hidden) return -ENOENT;
  open_how how = in.how;
  in.how.resolve |= RESOLVE_NO_MAGICLINKS;
  int64_t fd = forward(thread, SYS_openat2, args[0], args[1], word(&in), size);
  if (fd != -ELOOP || (how.resolve & RESOLVE_NO_MAGICLINKS)) return reviewed(fd, how.flags, false);
  in.how = how;
  fd = forward(thread, SYS_openat2, args[0], args[1], word(&in), size);
  return reviewed(fd, how.flags, true);
}

int64_t sys_open_by_handle_at(GuestThread& thread, const uint64_t args[6]) {
  return reviewed(forward_syscall(thread, SYS_open_by_handle_at, args), args[2], true);
}

int64_t sys_readlink(GuestThread& t, const uint64_t args[6]) { return read_link(t, kCwd, args[0], args[1], args[2]); }
int64_t sys_readlinkat(GuestThread& t, const uint64_t args[6]) {
  return read_link(t, args[0], args[1], args[2], args[3]);
}

int64_t sys_stat(GuestThread& t, const uint64_t args[6]) { return with_path(t, SYS_stat, args, 0, true); }
int64_t sys_access(GuestThread& t, const uint64_t args[6]) { return with_path(t, SYS_access, args, 0, true); }
int64_t sys_faccessat(GuestThread& t, const uint64_t args[6]) { return with_path(t, SYS_faccessat, args, 1, true); }
int64_t sys_faccessat2(GuestThread& t, const uint64_t args[6]) {
  return with_path(t, SYS_faccessat2, args, 1, !(args[3] & AT_SYMLINK_NOFOLLOW));
}
int64_t sys_newfstatat(GuestThread& t, const uint64_t args[6]) {
  return with_path(t, SYS_newfstatat, args, 1, !(args[3] & AT_SYMLINK_NOFOLLOW));
}
int64_t sys_statx(GuestThread& t, const uint64_t args[6]) {
  return with_path(t, SYS_statx, args, 1, !(args[2] & AT_SYMLINK_NOFOLLOW));
}

namespace {

int64_t read_directory(GuestThread& thread, int64_t nr, const uint64_t args[6], unsigned name_offset) {
  for (;;) {
    int64_t length = forward_syscall(thread, nr, args);
    int64_t kept = filter_fd_entries(static_cast<int>(args[0]), args[1], length, name_offset);
    if (kept != 0 || length <= 0) return kept;  // 0 would mean the end of the directory
  }
}

}  // namespace

int64_t sys_getdents(GuestThread& t, const uint64_t args[6]) { return read_directory(t, SYS_getdents, args, 18); }
int64_t sys_getdents64(GuestThread& t, const uint64_t args[6]) { return read_directory(t, SYS_getdents64, args, 19); }

int64_t sys_mount(GuestThread& thread, const uint64_t args[6]) {
  // The kernel reads up to one page of data. Text options are copied; the binary kind (old NFS, first byte a small
  // version number) holds addresses.
  char data[4096] = {};
  if (args[4] == 0) return forward_syscall(thread, SYS_mount, args);
  size_t size = sizeof(data);
  while (size > 0 && copy_from_guest(data, args[4], size) != 0) size = size > 4096 - args[4] % 4096 ? 4096 - args[4] % 4096 : 0;
  if (size == 0) return -EFAULT;
  data[sizeof(data) - 1] = '\0';
  if (data[0] > 0 && data[0] < ' ') {
    log_refused_once("mount with binary data, first byte", static_cast<uint64_t>(data[0]));
    return -EINVAL;
  }
  return forward(thread, SYS_mount, args[0], args[1], args[2], args[3], word(data));
}

namespace {

/// struct xattr_args of setxattrat/getxattrat (linux/xattr.h, 6.13): an address and its length inside.
int64_t xattr_at(GuestThread& thread, int64_t nr, const uint64_t args[6]) {
  struct {
    uint64_t value;
    uint32_t size, flags;
    char more[4096 - 16];
  } in{};
  if (args[5] < 16) return -EINVAL;
  if (args[5] > sizeof(in)) return -E2BIG;
  if (int error = copy_from_guest(&in, args[4], args[5]); error != 0) return error;
  in.value = safe_range(in.value, in.size);
  return forward(thread, nr, args[0], args[1], args[2], args[3], word(&in), args[5]);
}

constexpr int64_t kSetxattrat = 463, kGetxattrat = 464;  // younger than the build's headers

}  // namespace

int64_t sys_setxattrat(GuestThread& t, const uint64_t args[6]) { return xattr_at(t, kSetxattrat, args); }
int64_t sys_getxattrat(GuestThread& t, const uint64_t args[6]) { return xattr_at(t, kGetxattrat, args); }

}  // namespace km
