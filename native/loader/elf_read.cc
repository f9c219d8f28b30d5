// SPDX-License-Identifier: Apache-2.0
#include "native/loader/elf_read.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace km {
namespace {

bool check_mode(const struct stat& st, LoadError* error) {
  if (S_ISREG(st.st_mode)) return true;
  if (S_ISDIR(st.st_mode)) return fail(error, EACCES, "is a directory, not a program");
  return fail(error, EACCES, "is not a regular file; km runs programs from regular files only");
}

bool fail_open(int code, LoadError* error) {
  switch (code) {
    case ENOENT:
      return fail(error, code, "does not exist; check the path or install it");
    case ELOOP:
      return fail(error, code, "leads through too many symbolic links");
    case ENOTDIR:
      return fail(error, code, "has a path component that is not a directory");
    default:
      return fail(error, code, "cannot be opened: %s", strerror(code));
  }
}

/// Whether somebody has the program open for writing. Only the kernel knows, and tells since Linux 6.14 (execveat(2),
/// AT_EXECVE_CHECK: nothing is executed); an older one refuses the flag, as it did every unknown one since 3.19.
bool is_being_written(int fd) {
  constexpr int kExecveCheck = 0x10000;
  char name[] = "km";
  char* argv[] = {name, nullptr};
  return syscall(SYS_execveat, fd, "", argv, argv + 1, AT_EMPTY_PATH | kExecveCheck) != 0 && errno == ETXTBSY;
}

}  // namespace

int64_t read_at(int fd, uint64_t offset, void* to, uint64_t size) {
  uint64_t done = 0;
  while (done < size) {
    ssize_t n = pread(fd, static_cast<char*>(to) + done, size - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -errno;
    if (n == 0) break;
    done += static_cast<uint64_t>(n);
  }
  return static_cast<int64_t>(done);
}

int open_executable(const std::string& path, LoadError* error) {
  struct stat st;
  // Before open: opening a device or a FIFO has effects of its own.
  if (stat(path.c_str(), &st) != 0) return fail_open(errno, error), -1;
  if (!check_mode(st, error)) return -1;
  if (faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) != 0) {
    if (errno == EACCES) return fail(error, EACCES, "is not executable for you (chmod +x it)"), -1;
    return fail_open(errno, error), -1;
  }
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) {
    if (errno == EACCES)
      return fail(error, EACCES, "is not readable for you; km must read a program to run it"), -1;
    return fail_open(errno, error), -1;
  }
  const bool good = fstat(fd, &st) == 0 && check_mode(st, error);
  if (good && !is_being_written(fd)) return fd;
  if (good) fail(error, ETXTBSY, "is open for writing; close it there first");
  close(fd);
  return -1;
}

bool read_elf(int fd, ElfFile* file, LoadError* error) {
  struct stat st;
  if (fstat(fd, &st) != 0) return fail(error, errno, "cannot be examined: %s", strerror(errno));
  uint8_t first[kElfHeaderSize];
  int64_t got = read_at(fd, 0, first, sizeof(first));
  if (got < 0)
    return fail(error, static_cast<int>(-got), "cannot be read: %s", strerror(static_cast<int>(-got)));
  ElfHeader header;
  if (!parse_elf_header({first, static_cast<size_t>(got)}, &header, error)) return false;
  std::vector<uint8_t> table(header.phnum * kProgramHeaderSize);
  got = read_at(fd, header.phoff, table.data(), table.size());
  if (got < 0)
    return fail(error, static_cast<int>(-got), "cannot be read: %s", strerror(static_cast<int>(-got)));
  return parse_program_headers(header, {table.data(), static_cast<size_t>(got)},
                               static_cast<uint64_t>(st.st_size), file, error);
}

bool read_interpreter_path(int fd, const ElfFile& file, std::string* path, LoadError* error) {
  std::vector<uint8_t> bytes(file.interpreter_size);
  int64_t got = read_at(fd, file.interpreter_offset, bytes.data(), bytes.size());
  if (got < 0)
    return fail(error, static_cast<int>(-got), "cannot be read: %s", strerror(static_cast<int>(-got)));
  return parse_interpreter_path(file, {bytes.data(), static_cast<size_t>(got)}, path, error);
}

int open_interpreter(const std::string& path, ElfFile* file, LoadError* error) {
  int fd = open_executable(path, error);
  if (fd >= 0 && read_elf(fd, file, error)) return fd;
  // execve(2): an interpreter that is no ELF file of this machine is ELIBBAD; one that cannot be opened keeps
  // its errno.
  if (fd >= 0) {
    struct stat st;
    const bool is_short = fstat(fd, &st) == 0 && st.st_size < static_cast<off_t>(kElfHeaderSize);
    close(fd);
    if (error->error == ENOEXEC) error->error = is_short ? EIO : ELIBBAD;
  }
  error->message = "its interpreter '" + path + "' " + error->message;
  return -1;
}

}  // namespace km
