// SPDX-License-Identifier: Apache-2.0
// Links, addresses and routes as rtnetlink(7) dumps them, with the answers to requests that are wrong. Shown is the
// loopback device; others come and go between two runs, so that their messages are only checked.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include "report.h"

enum { LOOPBACK = 1 };  // its index, in every network namespace

static int misread;  // messages that disagree with what else the machine says

static int open_route(void) {
  const struct sockaddr_nl anybody = {.nl_family = AF_NETLINK};
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  must(fd >= 0 && bind(fd, (const struct sockaddr*)&anybody, sizeof anybody) == 0, "netlink");
  return fd;
}

static void ask(int fd, int type, int flags, unsigned family) {
  struct {
    struct nlmsghdr head;
    struct rtgenmsg body;
    char padding[16];
  } request = {.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)), .nlmsg_type = (unsigned short)type,
                        .nlmsg_flags = (unsigned short)(NLM_F_REQUEST | flags), .nlmsg_seq = 7}};
  request.body.rtgen_family = (unsigned char)family;
  must(send(fd, &request, request.head.nlmsg_len, 0) == request.head.nlmsg_len, "send");
}

static void one_link(const struct nlmsghdr* head) {
  const struct ifinfomsg* link = NLMSG_DATA(head);
  int left = (int)IFLA_PAYLOAD(head);
  const char* name = "?";
  unsigned mtu = 0, type = link->ifi_type;
  for (const struct rtattr* at = IFLA_RTA(link); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
    if (at->rta_type == IFLA_IFNAME) name = RTA_DATA(at);
    if (at->rta_type == IFLA_MTU) memcpy(&mtu, RTA_DATA(at), sizeof mtu);
  }
  char known[IF_NAMESIZE] = "";
  if (link->ifi_index != LOOPBACK) {
    misread += mtu == 0 || if_indextoname((unsigned)link->ifi_index, known) == NULL || strcmp(known, name) != 0;
    return;
  }
  show("link", "%d %s type %u mtu %u loopback %d", link->ifi_index, name, type, mtu, !!(link->ifi_flags & IFF_LOOPBACK));
}

static void one_address(const struct nlmsghdr* head) {
  const struct ifaddrmsg* address = NLMSG_DATA(head);
  int left = (int)IFA_PAYLOAD(head);
  char text[INET6_ADDRSTRLEN] = "?";
  for (const struct rtattr* at = IFA_RTA(address); RTA_OK(at, left); at = RTA_NEXT(at, left))
    if (at->rta_type == IFA_ADDRESS) inet_ntop(address->ifa_family, RTA_DATA(at), text, sizeof text);
  if (address->ifa_index != LOOPBACK) {
    misread += text[0] == '?' || address->ifa_prefixlen > 128;
    return;
  }
  show("address", "%u family %d %s/%d scope %d", address->ifa_index, address->ifa_family, text,
       address->ifa_prefixlen, address->ifa_scope);
}

static void one_route(const struct nlmsghdr* head) {
  const struct rtmsg* route = NLMSG_DATA(head);
  int left = (int)RTM_PAYLOAD(head);
  char text[INET6_ADDRSTRLEN] = "default";
  int out = 0;
  for (const struct rtattr* at = RTM_RTA(route); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
    if (at->rta_type == RTA_DST) inet_ntop(route->rtm_family, RTA_DATA(at), text, sizeof text);
    if (at->rta_type == RTA_OIF) memcpy(&out, RTA_DATA(at), sizeof out);
  }
  if (out != LOOPBACK) {
    misread += route->rtm_family != AF_INET || route->rtm_dst_len > 32;
    return;
  }
  show("route", "family %d %s/%d table %d type %d by %d", route->rtm_family, text, route->rtm_dst_len,
       route->rtm_table, route->rtm_type, out);
}

/// Reads a dump to its end and hands each message on.
static void dump(const char* what, int type, unsigned family, void (*one)(const struct nlmsghdr*)) {
  static _Alignas(struct nlmsghdr) char buffer[65536];
  const int fd = open_route();
  ask(fd, type, NLM_F_DUMP, family);
  int count = 0, is_done = 0;
  while (!is_done) {
    long length = recv(fd, buffer, sizeof buffer, 0);
    must(length > 0, "recv");
    for (const struct nlmsghdr* head = (void*)buffer; NLMSG_OK(head, length); head = NLMSG_NEXT(head, length)) {
      misread += head->nlmsg_seq != 7;
      is_done |= head->nlmsg_type == NLMSG_DONE || head->nlmsg_type == NLMSG_ERROR;
      if (is_done) break;
      one(head);
      count++;
    }
  }
  check(count > 0, what);
  close(fd);
}

/// The error that comes back for a request.
static void wrong(const char* what, int type, int flags) {
  _Alignas(struct nlmsghdr) char buffer[4096];
  const int fd = open_route();
  ask(fd, type, flags, AF_INET);
  const long length = recv(fd, buffer, sizeof buffer, 0);
  must(length >= (long)NLMSG_LENGTH(sizeof(struct nlmsgerr)), "recv");
  const struct nlmsghdr* head = (void*)buffer;
  const struct nlmsgerr* error = NLMSG_DATA(head);
  show(what, "type %d, %s", head->nlmsg_type, strerrorname_np(-error->error));
  close(fd);
}

static void sockets(void) {
  struct sockaddr_nl first = {0}, second = {0};
  socklen_t size = sizeof first;
  const int fd = open_route(), other = open_route();
  result("getsockname", getsockname(fd, (struct sockaddr*)&first, &size));
  getsockname(other, (struct sockaddr*)&second, &size);
  check(first.nl_family == AF_NETLINK && first.nl_pid == (unsigned)getpid(), "the first is named like the process");
  check(second.nl_pid != first.nl_pid, "the second is not");
  result("the same name twice", bind(other, (struct sockaddr*)&first, sizeof first));
  // The answer is longer than the room for it.
  ask(fd, RTM_GETLINK, NLM_F_DUMP, AF_UNSPEC);
  char little[32];
  struct iovec iov = {little, sizeof little};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
  result("into 32 bytes", recvmsg(fd, &m, 0));
  check(m.msg_flags & MSG_TRUNC, "and it says so");
  result("a protocol that is not there", socket(AF_NETLINK, SOCK_RAW, 31));
  close(fd);
  close(other);
}

int main(void) {
  struct ifaddrs* list = NULL;
  sockets();
  dump("links", RTM_GETLINK, AF_UNSPEC, one_link);
  dump("addresses", RTM_GETADDR, AF_UNSPEC, one_address);
  dump("IPv4 addresses", RTM_GETADDR, AF_INET, one_address);
  dump("routes", RTM_GETROUTE, AF_INET, one_route);
  wrong("a type that is not there", RTM_MAX + 40, NLM_F_ACK);
  wrong("a link without a name", RTM_GETLINK, 0);
  result("getifaddrs", getifaddrs(&list));
  int count = 0;
  for (struct ifaddrs* at = list; at != NULL; at = at->ifa_next)
    count += at->ifa_addr != NULL && at->ifa_addr->sa_family == AF_INET;
  check(count > 0, "some of IPv4");
  check(misread == 0, "no message was misread");
  freeifaddrs(list);
  show("if_nametoindex", "%u", if_nametoindex("lo"));
  return finish();
}
