// SPDX-License-Identifier: Apache-2.0
// Messages: headers, vectors and control data are copied and checked, then the copies are used.
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <vector>

#include "native/base/private_fd.h"
#include "native/syscalls/allowed.h"
#include "native/syscalls/internal.h"

namespace km {
namespace {

constexpr size_t kMostControl = 1 << 20;  // the kernel's own limit, net.core.optmem_max, is 128 KiB by default

/// A message of the payload with everything the kernel would follow in monitor memory.
struct Message {
  msghdr header{};
  GuestIov iov;
  std::vector<char> control;
};

/// Refuses control data that hands a descriptor of the monitor to somebody else.
int check_control(const char* bytes, size_t size) {
  for (size_t at = 0; at + sizeof(cmsghdr) <= size;) {
    cmsghdr head;
    memcpy(&head, bytes + at, sizeof(head));
    if (head.cmsg_len < sizeof(head) || head.cmsg_len > size - at) return 0;  // the kernel says EINVAL
    if (head.cmsg_level == SOL_SOCKET && head.cmsg_type == SCM_RIGHTS) {
      for (size_t i = sizeof(head); i + sizeof(int) <= head.cmsg_len; i += sizeof(int)) {
        int fd;
        memcpy(&fd, bytes + at + i, sizeof(fd));
        if (is_private_fd(fd)) return -EBADF;
      }
    }
    at += CMSG_ALIGN(head.cmsg_len);
  }
  return 0;
}

void* pointer(uint64_t address) { return reinterpret_cast<void*>(address); }  // for structures the kernel reads

/// Loads what is common to both directions. False: the header itself cannot be read.
bool load_header(Message* m, uint64_t addr) {
  if (copy_from_guest(&m->header, addr, sizeof(msghdr)) != 0) return false;
  m->header.msg_iov = static_cast<iovec*>(pointer(m->iov.load(word(m->header.msg_iov), m->header.msg_iovlen)));
  m->header.msg_name = pointer(safe_pointer(word(m->header.msg_name)));  // at most 128 bytes
  return true;
}

/// Loads what goes out. 0, or -EFAULT (no header), -ENOBUFS, -EBADF.
int load_outgoing(Message* m, uint64_t addr) {
  if (!load_header(m, addr)) return -EFAULT;
  if (m->header.msg_controllen == 0) return 0;
  if (m->header.msg_controllen > kMostControl) return -ENOBUFS;
  m->control.resize(m->header.msg_controllen);
  if (copy_from_guest(m->control.data(), word(m->header.msg_control), m->control.size()) != 0) {
    m->header.msg_control = pointer(kNowhere);
    return 0;
  }
  m->header.msg_control = m->control.data();
  return check_control(m->control.data(), m->control.size());
}

int load_incoming(Message* m, uint64_t addr) {
  if (!load_header(m, addr)) return -EFAULT;
  // The kernel only writes here: no copy needed.
  m->header.msg_control = pointer(safe_range(word(m->header.msg_control), m->header.msg_controllen));
  return 0;
}

/// Writes back what recvmsg(2) changes: lengths and flags.
int store_incoming(const msghdr& header, uint64_t addr) {
  int error = copy_to_guest(addr + offsetof(msghdr, msg_namelen), &header.msg_namelen, sizeof(header.msg_namelen));
  if (error == 0)
    error = copy_to_guest(addr + offsetof(msghdr, msg_controllen), &header.msg_controllen, sizeof(header.msg_controllen));
  if (error == 0) error = copy_to_guest(addr + offsetof(msghdr, msg_flags), &header.msg_flags, sizeof(header.msg_flags));
  return error;
}

using Loader = int (*)(Message*, uint64_t);

/// An array of messages (sendmmsg, recvmmsg): `headers` are the copies given to the kernel.
struct Batch {
  std::vector<Message> messages;
  std::vector<mmsghdr> headers;

  /// Loads up to `count`; fewer when a later one is bad, as the kernel stops there too. Returns 0 or the first's error.
  int load(uint64_t addr, uint64_t count, Loader loader) {
    constexpr uint32_t kMost = 1024;  // UIO_MAXIOV: the kernel cuts vlen there
    if (count > kMost) count = kMost;
    messages.resize(count);
    for (uint64_t i = 0; i < count; i++) {
      if (int error = loader(&messages[i], addr + i * sizeof(mmsghdr)); error != 0) {
        if (i == 0) return error;
        messages.resize(i);
        break;
      }
    }
    headers.resize(messages.size());
    for (size_t i = 0; i < messages.size(); i++) headers[i].msg_hdr = messages[i].header;
    return 0;
  }
};

}  // namespace

// The families servers and clients use. Every other one is a protocol of its own in the host's kernel, rarely used and
// rarely looked at; AF_PACKET sees what is not the payload's.
constexpr int kFamilies[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

std::span<const int> socket_families() { return kFamilies; }

namespace {

bool family_allowed(uint64_t family) {
  for (int known : kFamilies)
    if (known == static_cast<int>(family)) return true;
  log_refused_once("socket family", static_cast<uint32_t>(family));
  return false;
}

}  // namespace

int64_t sys_socket(GuestThread& thread, const uint64_t args[6]) {
  return family_allowed(args[0]) ? forward_syscall(thread, SYS_socket, args) : -EAFNOSUPPORT;
}

int64_t sys_socketpair(GuestThread& thread, const uint64_t args[6]) {
  return family_allowed(args[0]) ? forward_syscall(thread, SYS_socketpair, args) : -EAFNOSUPPORT;
}

int64_t sys_sendmsg(GuestThread& thread, const uint64_t args[6]) {
  Message m;
  const int error = load_outgoing(&m, args[1]);
  if (error == -EFAULT) return forward(thread, SYS_sendmsg, args[0], kNowhere, args[2]);
  if (error != 0) return error;
  return forward(thread, SYS_sendmsg, args[0], word(&m.header), args[2]);
}

int64_t sys_recvmsg(GuestThread& thread, const uint64_t args[6]) {
  Message m;
  if (load_incoming(&m, args[1]) != 0) return forward(thread, SYS_recvmsg, args[0], kNowhere, args[2]);
  int64_t result = forward(thread, SYS_recvmsg, args[0], word(&m.header), args[2]);
  if (result < 0) return result;
  int error = store_incoming(m.header, args[1]);
  return error != 0 ? error : result;
}

int64_t sys_sendmmsg(GuestThread& thread, const uint64_t args[6]) {
  Batch batch;
  const int error = batch.load(args[1], static_cast<uint32_t>(args[2]), load_outgoing);
  if (error == -EFAULT) return forward(thread, SYS_sendmmsg, args[0], kNowhere, args[2], args[3]);
  if (error != 0) return error;
  int64_t sent = forward(thread, SYS_sendmmsg, args[0], word(batch.headers.data()), batch.headers.size(), args[3]);
  for (int64_t i = 0; i < sent; i++) {
    const mmsghdr& header = batch.headers[static_cast<size_t>(i)];
    uint64_t at = args[1] + static_cast<uint64_t>(i) * sizeof(mmsghdr) + offsetof(mmsghdr, msg_len);
    if (copy_to_guest(at, &header.msg_len, sizeof(header.msg_len)) != 0) return -EFAULT;
  }
  return sent;
}

int64_t sys_recvmmsg(GuestThread& thread, const uint64_t args[6]) {
  Batch batch;
  if (batch.load(args[1], static_cast<uint32_t>(args[2]), load_incoming) != 0)
    return forward(thread, SYS_recvmmsg, args[0], kNowhere, args[2], args[3], args[4]);
  int64_t got = forward(thread, SYS_recvmmsg, args[0], word(batch.headers.data()), batch.headers.size(), args[3], args[4]);
  for (int64_t i = 0; i < got; i++) {
    const mmsghdr& header = batch.headers[static_cast<size_t>(i)];
    uint64_t at = args[1] + static_cast<uint64_t>(i) * sizeof(mmsghdr);
    if (store_incoming(header.msg_hdr, at) != 0 ||
        copy_to_guest(at + offsetof(mmsghdr, msg_len), &header.msg_len, sizeof(header.msg_len)) != 0)
      return -EFAULT;
  }
  return got;
}

}  // namespace km
