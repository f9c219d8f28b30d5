// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <string_view>

#include "native/base/log.h"
#include "native/base/private_fd.h"
#include "native/machine/guest_thread.h"
#include "native/manage/manage.h"
#include "native/manage/server.h"

namespace km {

namespace detail {
thread_local volatile sig_atomic_t manage_called = 0;
}

namespace {

sockaddr_un name;        // sun_path empty: not announced
pid_t announced_by = 0;  // a vfork child shares this memory and must not withdraw its parent
int listener = -1;

/// What follows the runtime directory in the name: "/kontain/", two numbers, ".sock".
constexpr size_t kTail = 64;

/// Writes text and numbers one after another. printf's pages would be the dearest part of announcing.
class Writer {
 public:
  explicit Writer(char* to) : at_(to) { *at_ = '\0'; }
  Writer& operator<<(std::string_view text) {
    memcpy(at_, text.data(), text.size());
    at_ += text.size();
    *at_ = '\0';
    return *this;
  }
  Writer& operator<<(uint64_t number) {
    char digits[20];
    size_t first = sizeof digits;
    do digits[--first] = static_cast<char>('0' + number % 10);
    while ((number /= 10) != 0);
    return *this << std::string_view(digits + first, sizeof digits - first);
  }

 private:
  char* at_;
};

/// Empty: there is none.
std::string_view runtime_directory() {
  if (geteuid() == 0) return "/run";
  const char* runtime = secure_getenv("XDG_RUNTIME_DIR");
  if (runtime == nullptr || runtime[0] != '/' || strlen(runtime) + kTail > sizeof name.sun_path) return {};
  return runtime;
}

/// `<pid>-<inode of the pid namespace>.sock`: stays the same across exec, differs between containers that share the
/// directory.
bool choose_name() {
  const std::string_view directory = runtime_directory();
  if (directory.empty()) return false;
  struct stat ns;
  const uint64_t inode = stat("/proc/self/ns/pid", &ns) == 0 ? ns.st_ino : 0;
  name.sun_family = AF_UNIX;
  Writer(name.sun_path) << directory << "/kontain/" << static_cast<uint64_t>(getpid()) << "-" << inode << ".sock";
  return true;
}

bool try_bind(int fd) { return bind(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0; }

/// The usual case takes one call: the directory is there, and no earlier process left this name.
bool bind_name(int fd) {
  if (try_bind(fd)) return true;
  if (errno == EADDRINUSE) return unlink(name.sun_path) == 0 && try_bind(fd);
  if (errno != ENOENT) return false;
  char* slash = strrchr(name.sun_path, '/');
  *slash = '\0';
  const bool made = mkdir(name.sun_path, 0755) == 0 || errno == EEXIST;
  *slash = '/';
  return made && try_bind(fd);
}

int bind_listener() {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  fchmod(fd, 0600);  // before bind: the name never exists with other rights (unix(7))
  constexpr int kBacklog = 64;
  bool up = bind_name(fd) && listen(fd, kBacklog) == 0;
  int moved = up ? make_private_fd(fd) : -errno;
  if (moved < 0) close(fd);
  return moved;
}

}  // namespace

int manage_listener() { return listener; }

void manage_arm(bool on) { fcntl(listener, F_SETOWN, on ? getpid() : 0); }

void manage_announce() {
  if (listener >= 0) {  // forked child: this one is the parent's
    close_private_fd(listener);
    listener = -1;
    manage_forget_server();
  }
  announced_by = getpid();
  detail::manage_called = 0;
  if (!choose_name()) {
    name.sun_path[0] = '\0';
    return;
  }
  int fd = bind_listener();
  if (fd < 0) {
    KM_TRACE(Tag::kProc, "not announced as %s: %s", name.sun_path, strerror(-fd));
    name.sun_path[0] = '\0';
    return;
  }
  listener = fd;
  fcntl(fd, F_SETSIG, SIGBUS);
  manage_arm(true);
  fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC);
}

void manage_withdraw() {
  if (name.sun_path[0] == '\0' || announced_by != getpid()) return;
  unlink(name.sun_path);
  name.sun_path[0] = '\0';
}

bool manage_signal(const siginfo_t& info) {
  // SI_SIGIO and not POLL_IN: SIGBUS has codes of its own (fs/fcntl.c, send_sigio_to_task). The payload can forge this
  // to itself, and wakes the server for nothing.
  if (info.si_signo != SIGBUS || info.si_code != SI_SIGIO || listener < 0 || info.si_fd != listener) return false;
  detail::manage_called = 1;
  return true;
}

void manage_pass_on(const siginfo_t& info) {
  detail::manage_called = 0;
  siginfo_t copy = info;
  host_syscall(SYS_rt_sigqueueinfo, static_cast<uint64_t>(getpid()), SIGBUS, reinterpret_cast<uint64_t>(&copy));
}

}  // namespace km
