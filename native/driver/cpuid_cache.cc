// SPDX-License-Identifier: Apache-2.0
#include "native/driver/cpuid_cache.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <string>

namespace km::kvm {
namespace {

/// What the table depends on: the running kernel and the device node, which is made anew when its module is reloaded.
struct Key {
  uint64_t magic, device, inode, changed_seconds, changed_nanoseconds;
  // Rounded up, so that the structure has no padding: it is stored and compared as bytes.
  char kernel[(sizeof(utsname::release) + sizeof(utsname::version) + 7) & ~size_t{7}];
};
constexpr uint64_t kMagic = 0x31646975'70636d6bull;  // "kmcpuid1"
constexpr off_t kMaxFile = 64 * 1024;

bool make_key(int device_fd, Key* key) {
  struct stat st;
  utsname name;
  memset(key, 0, sizeof *key);
  if (fstat(device_fd, &st) != 0 || uname(&name) != 0) return false;
  key->magic = kMagic;
  key->device = st.st_rdev;
  key->inode = st.st_ino;
  key->changed_seconds = static_cast<uint64_t>(st.st_ctim.tv_sec);
  key->changed_nanoseconds = static_cast<uint64_t>(st.st_ctim.tv_nsec);
  memcpy(key->kernel, name.release, strlen(name.release));
  memcpy(key->kernel + sizeof name.release, name.version, strlen(name.version));
  return true;
}

/// "/run/kontain" for root, "$XDG_RUNTIME_DIR/kontain" for others; empty without one.
std::string directory() {
  if (geteuid() == 0) return "/run/kontain";
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  return runtime != nullptr && runtime[0] == '/' ? std::string(runtime) + "/kontain" : "";
}

bool private_to_us(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 022) == 0;
}

/// Descriptor of the directory when it is ours alone, else -1.
int open_directory() {
  std::string path = directory();
  if (path.empty()) return -1;
  int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd >= 0 && !private_to_us(fd)) {
    close(fd);
    return -1;
  }
  return fd;
}

bool read_table(int fd, const Key& wanted, std::vector<uint8_t>* table) {
  struct stat st;
  Key key;
  if (!private_to_us(fd) || fstat(fd, &st) != 0 || st.st_size > kMaxFile) return false;
  if (st.st_size <= static_cast<off_t>(sizeof key)) return false;
  if (pread(fd, &key, sizeof key, 0) != static_cast<ssize_t>(sizeof key)) return false;
  if (memcmp(&key, &wanted, sizeof key) != 0) return false;
  table->resize(static_cast<size_t>(st.st_size) - sizeof key);
  return pread(fd, table->data(), table->size(), sizeof key) == static_cast<ssize_t>(table->size());
}

constexpr const char* kName = "cpuid";

}  // namespace

bool load_cpuid(int device_fd, std::vector<uint8_t>* table) {
  Key key;
  int dir = open_directory();
  if (dir < 0) return false;
  int fd = openat(dir, kName, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  close(dir);
  if (fd < 0) return false;
  bool good = make_key(device_fd, &key) && read_table(fd, key, table);
  close(fd);
  return good;
}

void store_cpuid(int device_fd, const std::vector<uint8_t>& table) {
  Key key;
  std::string path = directory();
  if (path.empty() || !make_key(device_fd, &key)) return;
  mkdir(path.c_str(), 0755);
  int dir = open_directory();
  if (dir < 0) return;
  std::string temporary = std::string(kName) + "." + std::to_string(getpid());
  int fd = openat(dir, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd >= 0) {
    bool good = write(fd, &key, sizeof key) == static_cast<ssize_t>(sizeof key) &&
                write(fd, table.data(), table.size()) == static_cast<ssize_t>(table.size());
    close(fd);
    if (!good || renameat(dir, temporary.c_str(), dir, kName) != 0) unlinkat(dir, temporary.c_str(), 0);
  }
  close(dir);
}

}  // namespace km::kvm
