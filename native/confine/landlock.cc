// SPDX-License-Identifier: Apache-2.0
#include "native/confine/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native/confine/program.h"

// Younger than Debian 12's headers (linux/landlock.h): version 3 and 5.
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif

namespace km::confine {
namespace {

constexpr uint64_t kRead = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
// Device nodes are nobody's to make: MAKE_CHAR and MAKE_BLOCK are given to no path.
constexpr uint64_t kWrite = kRead | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                            LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                            LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM |
                            LANDLOCK_ACCESS_FS_REFER | LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_IOCTL_DEV;
constexpr uint64_t kOfFiles = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                              LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_IOCTL_DEV;
constexpr int kReferAbi = 2, kTruncateAbi = 3, kIoctlAbi = 5;

/// Allows `rights` at and below the file `fd` stands for. 0 or -errno.
int add_rule(int ruleset, int fd, uint64_t rights) {
  struct stat st;
  if (fstat(fd, &st) != 0) return -errno;
  if (!S_ISDIR(st.st_mode)) rights &= kOfFiles;  // the kernel refuses rights of directories on files
  const landlock_path_beneath_attr rule{rights, fd};
  return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0 ? 0 : -errno;
}

int add_path(int ruleset, const FileRule& rule, const FileRights& rights) {
  const int fd = open(rule.path.c_str(), O_PATH | O_CLOEXEC);
  if (fd < 0) return -errno;
  const int result = add_rule(ruleset, fd, rule.writable ? rights.write : rights.read);
  close(fd);
  return result;
}

/// Before version 3 Landlock does not know truncate(2), which then cuts any file the user may write.
bool forbid_truncate(std::string* why) {
  Code code = load(offsetof(seccomp_data, nr),
                   if_equal(SYS_truncate, verdict(SECCOMP_RET_ERRNO | EACCES), verdict(SECCOMP_RET_ALLOW)));
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0) return true;
  *why = std::string("--landlock: this kernel's Landlock leaves truncate(2) open and it takes no seccomp filter: ") +
         strerror(errno);
  return false;
}

bool fill(int ruleset, const std::vector<FileRule>& rules, const FileRights& rights, int self_fd, std::string* why) {
  for (const FileRule& rule : rules) {
    const int error = add_path(ruleset, rule, rights);
    if (error == 0) continue;
    *why = "--landlock: " + rule.path + ": " + strerror(-error);
    return false;
  }
  const int error = add_rule(ruleset, self_fd, LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE);
  if (error == 0) return true;
  *why = std::string("--landlock: the monitor's own executable: ") + strerror(-error);
  return false;
}

}  // namespace

FileRights file_rights(int abi) {
  FileRights rights{};
  rights.handled = LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1;  // version 1: all up to there
  if (abi >= kReferAbi) rights.handled |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= kTruncateAbi) rights.handled |= LANDLOCK_ACCESS_FS_TRUNCATE;
  if (abi >= kIoctlAbi) rights.handled |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
  rights.read = kRead & rights.handled;
  rights.write = kWrite & rights.handled;
  return rights;
}

bool restrict_files(const std::vector<FileRule>& rules, int self_fd, std::string* why) {
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1) {
    *why = std::string("--landlock: this kernel has no Landlock (") + strerror(errno) +
           "); it needs Linux 5.13 with 'landlock' in lsm= of its command line";
    return false;
  }
  const FileRights rights = file_rights(static_cast<int>(abi));
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs = rights.handled;
  const auto ruleset = static_cast<int>(
      syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes.handled_access_fs, 0));
  if (ruleset < 0) {
    *why = std::string("--landlock: no set of rules: ") + strerror(errno);
    return false;
  }
  bool good = fill(ruleset, rules, rights, self_fd, why);
  if (good && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
    *why = std::string("--landlock: ") + strerror(errno);
    good = false;
  }
  close(ruleset);
  return good && (abi >= kTruncateAbi || forbid_truncate(why));
}

}  // namespace km::confine
