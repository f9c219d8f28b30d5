// SPDX-License-Identifier: Apache-2.0
// Sockets.
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "say.h"

static void streams(void) {
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, name = {0};
  socklen_t length = sizeof name;
  char text[16] = "";
  int one = 1, value = 0;
  DO(socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  DO(setsockopt, 3, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  length = sizeof value;
  DO(getsockopt, 3, SOL_SOCKET, SO_REUSEADDR, &value, &length);
  line("value %d length %u", value != 0, length);
  DOR("short", getsockopt, 3, SOL_SOCKET, SO_REUSEADDR, &value, &(socklen_t){1});
  DOR("no memory there", getsockopt, 3, SOL_SOCKET, SO_REUSEADDR, 8, &length);
  DO(setsockopt, 3, 12345, 1, &one, sizeof one);
  DO(bind, 3, &any, sizeof any);
  DO(listen, 3, 5);
  length = sizeof name;
  DO(getsockname, 3, &name, &length);
  line("family %d port %d length %u", name.sin_family, name.sin_port != 0, length);
  DO(socket, AF_INET, SOCK_STREAM, 0);
  DO(connect, 4, &name, sizeof name);
  DO(accept, 3, NULL, NULL);
  DO(getpeername, 5, &any, &length);
  DO(sendto, 4, "ping", 4, 0, NULL, 0);
  DO(recvfrom, 5, text, sizeof text, 0, NULL, NULL);
  line("'%s'", text);
  DO(shutdown, 4, SHUT_WR);
  DO(recvfrom, 5, text, sizeof text, 0, NULL, NULL);
  DO(setsockopt, 4, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  close(4);
  close(5);
  DO(socket, AF_INET, SOCK_STREAM, 0);
  DO(connect, 4, &name, length);
  length = sizeof any;
  DO(accept4, 3, &any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  line("length %u", length);
  DO(recvfrom, 5, text, sizeof text, 0, NULL, NULL);
  DO(accept4, 3, &any, &length, 0x1);
  DO(getpeername, 3, &any, &length);
  close(3);
  close(4);
  close(5);
}

static void messages(void) {
  int pair[2];
  char head[4] = "", tail[16] = "", control[64];
  struct iovec out[2] = {{"head", 4}, {"and tail", 8}}, in[2] = {{head, 4}, {tail, 16}};
  struct msghdr m = {.msg_iov = out, .msg_iovlen = 2};
  DO(socketpair, AF_UNIX, SOCK_DGRAM, 0, pair);
  DO(sendmsg, pair[0], &m, 0);
  m.msg_iov = in;
  DO(recvmsg, pair[1], &m, 0);
  line("'%.4s' '%s'", head, tail);
  // A descriptor goes over.
  m.msg_iov = out;
  m.msg_control = control;
  m.msg_controllen = CMSG_SPACE(sizeof(int));
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  *(int *)CMSG_DATA(c) = 1;
  DO(sendmsg, pair[0], &m, 0);
  m.msg_iov = in;
  m.msg_controllen = sizeof control;
  DO(recvmsg, pair[1], &m, MSG_CMSG_CLOEXEC);
  line("control %zu flags %x", m.msg_controllen, m.msg_flags);
  line("descriptor %d", *(int *)CMSG_DATA(CMSG_FIRSTHDR(&m)));
  close(*(int *)CMSG_DATA(CMSG_FIRSTHDR(&m)));
  *(int *)CMSG_DATA(c) = 99;
  m.msg_iov = out;
  m.msg_controllen = CMSG_SPACE(sizeof(int));
  DO(sendmsg, pair[0], &m, 0);
  // Several at once.
  struct mmsghdr many[3];
  memset(many, 0, sizeof many);
  for (int i = 0; i < 3; i++) many[i].msg_hdr = (struct msghdr){.msg_iov = out, .msg_iovlen = 1 + i % 2};
  DO(sendmmsg, pair[0], many, 3, 0);
  line("lengths %u %u %u", many[0].msg_len, many[1].msg_len, many[2].msg_len);
  for (int i = 0; i < 3; i++) many[i].msg_hdr = (struct msghdr){.msg_iov = in, .msg_iovlen = 2};
  struct timespec ts = {1, 0};
  DO(recvmmsg, pair[1], many, 3, 0, &ts);
  line("lengths %u %u %u", many[0].msg_len, many[1].msg_len, many[2].msg_len);
  m = (struct msghdr){.msg_iov = (void *)8, .msg_iovlen = 1};
  DO(sendmsg, pair[0], &m, 0);
  m.msg_iovlen = 5000;
  DO(sendmsg, pair[0], &m, 0);
  DO(recvmsg, pair[1], (void *)8, 0);
  DO(sendmsg, 99, &m, 0);
  close(pair[0]);
  close(pair[1]);
}

static void names_and_filters(void) {
  struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "socket"}, got = {0};
  socklen_t length = sizeof got;
  DO(socket, AF_UNIX, SOCK_DGRAM, 0);
  DO(bind, 3, &un, sizeof un);
  DO(getsockname, 3, &got, &length);
  line("'%s'", got.sun_path);
  DO(socket, AF_UNIX, SOCK_DGRAM, 0);
  DO(sendto, 4, "x", 1, 0, &un, sizeof un);
  char c;
  DO(recvfrom, 3, &c, 1, 0, &got, &length);
  struct sock_filter code[] = {{0x6, 0, 0, 0}};  // ret 0: drop everything
  struct sock_fprog program = {1, code};
  DO(setsockopt, 3, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
  DO(sendto, 4, "x", 1, 0, &un, sizeof un);
  DO(recvfrom, 3, &c, 1, MSG_DONTWAIT, NULL, NULL);
  length = 8;
  DO(getsockopt, 3, SOL_SOCKET, SO_GET_FILTER, code, &length);
  line("instructions %u", length);
  DO(setsockopt, 3, SOL_SOCKET, SO_DETACH_FILTER, &length, sizeof length);
  close(3);
  close(4);
}

static void interfaces(void) {
  struct ifreq request = {.ifr_name = "lo"};
  char list[4096];
  struct ifconf conf = {.ifc_len = sizeof list, .ifc_buf = list};
  DO(socket, AF_INET, SOCK_DGRAM, 0);
  DO(ioctl, 3, SIOCGIFINDEX, &request);
  line("index %d", request.ifr_ifindex);
  DO(ioctl, 3, SIOCGIFCONF, &conf);
  line("list %d", conf.ifc_len > 0 && conf.ifc_len % (int)sizeof(struct ifreq) == 0);
  conf.ifc_buf = (void *)8;
  conf.ifc_len = sizeof list;
  DO(ioctl, 3, SIOCGIFCONF, &conf);
  close(3);
}

/// Each family that is let through.
static void families(void) {
  const int known[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
  int pair[2];
  for (int i = 0; i < 4; i++) {
    DO(socket, known[i], SOCK_DGRAM, 0);
    close(3);
    DO(socketpair, known[i], SOCK_DGRAM, 0, pair);
    close_range(3, 10, 0);
  }
}

int main(void) {
  streams();
  messages();
  names_and_filters();
  interfaces();
  families();
  return 0;
}
