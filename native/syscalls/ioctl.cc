// SPDX-License-Identifier: Apache-2.0
// ioctl(2): an open-ended set of system calls. What is listed goes through; a command nobody listed may hold
// addresses nobody checked.
#include <errno.h>
#include <linux/fs.h>
#include <net/if.h>
#include <net/route.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "native/base/private_fd.h"
#include "native/syscalls/internal.h"
#include "native/syscalls/ioctl_table.h"

namespace km {
namespace {

/// SIOCGIFCONF: {int length, address}: the kernel writes the list at the address and the length back.
int64_t interface_list(GuestThread& thread, const uint64_t args[6]) {
  ifconf conf;
  if (copy_from_guest(&conf, args[2], sizeof(conf)) != 0) return forward(thread, SYS_ioctl, args[0], args[1], kNowhere);
  const uint64_t length = conf.ifc_len < 0 ? 0 : static_cast<uint64_t>(conf.ifc_len);
  conf.ifc_buf = reinterpret_cast<char*>(safe_range(word(conf.ifc_buf), length));
  int64_t result = forward(thread, SYS_ioctl, args[0], args[1], word(&conf));
  if (result < 0) return result;
  // The length alone: the address may be the one put in its place.
  int error = copy_to_guest(args[2] + offsetof(ifconf, ifc_len), &conf.ifc_len, sizeof(conf.ifc_len));
  return error != 0 ? error : result;
}

/// SIOCADDRT, SIOCDELRT: struct rtentry on IPv4 sockets names a device by address; IPv6's struct in6_rtmsg has none
/// inside. Other families' structures are refused.
int64_t change_route(GuestThread& thread, const uint64_t args[6]) {
  int family = 0;
  socklen_t size = sizeof(family);
  int64_t result = host_syscall(SYS_getsockopt, args[0], SOL_SOCKET, SO_DOMAIN, word(&family), word(&size));
  if (result < 0) return result;
  if (family == AF_INET6) return forward(thread, SYS_ioctl, args[0], args[1], safe_pointer(args[2]));
  if (family != AF_INET) return -ENOTTY;
  rtentry route;
  char device[IFNAMSIZ] = {};
  if (copy_from_guest(&route, args[2], sizeof(route)) != 0) return forward(thread, SYS_ioctl, args[0], args[1], kNowhere);
  // As the kernel reads it: so many bytes, wherever the name ends. It looks only when the caller may change routes.
  if (route.rt_dev != nullptr) {
    const bool readable = copy_from_guest(device, word(route.rt_dev), IFNAMSIZ - 1) == 0;
    route.rt_dev = readable ? device : reinterpret_cast<char*>(kNowhere);
  }
  return forward(thread, SYS_ioctl, args[0], args[1], word(&route));
}

int64_t clone_range(GuestThread& thread, const uint64_t args[6]) {
  file_clone_range range;
  if (copy_from_guest(&range, args[2], sizeof(range)) != 0) return forward(thread, SYS_ioctl, args[0], args[1], kNowhere);
  if (is_private_fd(static_cast<int>(range.src_fd))) return -EBADF;
  return forward(thread, SYS_ioctl, args[0], args[1], word(&range));
}

}  // namespace

int64_t sys_ioctl(GuestThread& thread, const uint64_t args[6]) {
  const uint32_t request = static_cast<uint32_t>(args[1]);
  const IoctlCommand* command = find_ioctl(request);
  if (command == nullptr) {
    log_refused_once("ioctl", request);
    return -ENOTTY;
  }
  switch (command->arg) {
    case IoctlArg::kNone: case IoctlArg::kNumber:
      break;
    case IoctlArg::kMemory:
      return forward(thread, SYS_ioctl, args[0], args[1], safe_pointer(args[2]));
    case IoctlArg::kFd:
      if (is_private_fd(static_cast<int>(args[2]))) return -EBADF;
      break;
    case IoctlArg::kIfConf: return interface_list(thread, args);
    case IoctlArg::kRoute: return change_route(thread, args);
    case IoctlArg::kClone: return clone_range(thread, args);
  }
  return forward_syscall(thread, SYS_ioctl, args);
}

}  // namespace km
