// SPDX-License-Identifier: Apache-2.0
// ioctl(2) on sockets. What changes interfaces is done to those of a network of its own, or, where that is not to be
// had, to one that is not there.
#include <linux/if_bridge.h>
#include <linux/ipv6.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "say.h"

static const char *interface = "lo";

static struct ifreq request(void) {
  struct ifreq r = {0};
  strcpy(r.ifr_name, interface);
  return r;
}

static void set_address(struct sockaddr *to, uint32_t address) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
  memcpy(to, &in, sizeof in);
}

static uint32_t address_of(const struct sockaddr *from) {
  struct sockaddr_in in;
  memcpy(&in, from, sizeof in);
  return ntohl(in.sin_addr.s_addr);
}

static void sockets(void) {
  int own = getpid(), owner = 0, mark = -1, queued = -1, pair[2];
  long times[2];
  int stream = socket(AF_INET, SOCK_STREAM, 0), datagrams = socket(AF_INET, SOCK_DGRAM, 0);
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  COMMAND(pair[0], FIOSETOWN, &own);
  COMMAND(pair[0], FIOGETOWN, &owner);
  line("owner %d", owner == own);
  own = 0;
  COMMAND(pair[0], SIOCSPGRP, &own);
  COMMAND(pair[0], SIOCGPGRP, &owner);
  line("owner %d", owner);
  COMMAND(stream, SIOCATMARK, &mark);
  COMMAND(stream, SIOCOUTQNSD, &queued);
  line("mark %d queued %d", mark, queued);
  COMMAND(datagrams, SIOCGSTAMP_OLD, times);
  COMMAND(datagrams, SIOCGSTAMPNS_OLD, times);
  COMMAND(datagrams, SIOCGSTAMP_NEW, times);
  COMMAND(datagrams, SIOCGSTAMPNS_NEW, times);
  COMMAND_OK(datagrams, SIOCGSKNS, 0);
}

static void addresses(int fd) {
  struct ifreq r = request();
  set_address(&r.ifr_addr, 0x7f010203);
  COMMAND(fd, SIOCSIFADDR, &r);
  set_address(&r.ifr_netmask, 0xffff0000);
  COMMAND(fd, SIOCSIFNETMASK, &r);
  set_address(&r.ifr_broadaddr, 0x7f01ffff);
  COMMAND(fd, SIOCSIFBRDADDR, &r);
  set_address(&r.ifr_dstaddr, 0x7f010204);
  COMMAND(fd, SIOCSIFDSTADDR, &r);
  if (COMMAND(fd, SIOCGIFADDR, &r) == 0) line("address %x", address_of(&r.ifr_addr));
  if (COMMAND(fd, SIOCGIFNETMASK, &r) == 0) line("mask %x", address_of(&r.ifr_netmask));
  if (COMMAND(fd, SIOCGIFBRDADDR, &r) == 0) line("broadcast %x", address_of(&r.ifr_broadaddr));
  if (COMMAND(fd, SIOCGIFDSTADDR, &r) == 0) line("other end %x", address_of(&r.ifr_dstaddr));
}

static void state(int fd) {
  struct ifreq r = request();
  COMMAND(fd, SIOCGIFFLAGS, &r);
  r.ifr_flags |= IFF_UP;
  COMMAND(fd, SIOCSIFFLAGS, &r);
  COMMAND(fd, SIOCGIFFLAGS, &r);
  line("up %d", !!(r.ifr_flags & IFF_UP));
  r.ifr_mtu = 5000;
  COMMAND(fd, SIOCSIFMTU, &r);
  COMMAND(fd, SIOCGIFMTU, &r);
  line("mtu %d", r.ifr_mtu);
  r.ifr_qlen = 77;
  COMMAND(fd, SIOCSIFTXQLEN, &r);
  COMMAND(fd, SIOCGIFTXQLEN, &r);
  line("queue %d", r.ifr_qlen);
  r.ifr_metric = 1;
  COMMAND(fd, SIOCSIFMETRIC, &r);
  COMMAND(fd, SIOCGIFMETRIC, &r);
  COMMAND(fd, SIOCGIFMAP, &r);
  COMMAND(fd, SIOCGIFHWADDR, &r);
  line("hardware %d", r.ifr_hwaddr.sa_family);
  COMMAND(fd, SIOCSIFHWADDR, &r);
  r.ifr_hwaddr.sa_family = AF_UNSPEC;
  COMMAND(fd, SIOCADDMULTI, &r);
  COMMAND(fd, SIOCDELMULTI, &r);
  r = request();
  COMMAND(fd, SIOCGIFINDEX, &r);
  COMMAND(fd, SIOCGIFNAME, &r);
  line("name '%s'", r.ifr_name);
}

static void routes(int fd) {
  char device[IFNAMSIZ];
  strcpy(device, interface);
  struct rtentry route = {.rt_flags = RTF_UP, .rt_dev = device};
  set_address(&route.rt_dst, 0x0a090000);
  set_address(&route.rt_genmask, 0xffff0000);
  COMMAND(fd, SIOCADDRT, &route);
  COMMAND(fd, SIOCADDRT, &route);
  COMMAND(fd, SIOCDELRT, &route);
  COMMAND(fd, SIOCDELRT, &route);
  route.rt_dev = (char *)8;
  COMMAND(fd, SIOCADDRT, &route);
  struct arpreq neighbour = {.arp_flags = ATF_PERM | ATF_COM, .arp_ha.sa_family = ARPHRD_LOOPBACK};
  set_address(&neighbour.arp_pa, 0x0a090001);
  strcpy(neighbour.arp_dev, interface);
  COMMAND(fd, SIOCSARP, &neighbour);
  COMMAND(fd, SIOCGARP, &neighbour);
  COMMAND(fd, SIOCDARP, &neighbour);
}

static void bridges(int fd) {
  char name[IFNAMSIZ] = "km-bridge";
  struct ifreq r = {.ifr_name = "km-bridge"};
  COMMAND(fd, SIOCBRADDBR, name);
  r.ifr_ifindex = 1;  // a bridge takes no loopback
  COMMAND(fd, SIOCBRADDIF, &r);
  COMMAND(fd, SIOCBRDELIF, &r);
  strcpy(r.ifr_newname, "km-renamed");
  if (COMMAND(fd, SIOCSIFNAME, &r) == 0) strcpy(name, "km-renamed");
  COMMAND(fd, SIOCBRDELBR, name);
}

static void sixth_version(void) {
  struct { struct in6_addr address; uint32_t prefix; int index; } r = {.address.s6_addr = {0xfd, [15] = 1}, .prefix = 64, .index = 1};
  int fd = socket(AF_INET6, SOCK_DGRAM, 0);
  if (strcmp(interface, "lo") != 0) r.index = 999999;
  COMMAND(fd, SIOCSIFADDR, &r);
  COMMAND(fd, SIOCDIFADDR, &r);
  COMMAND(fd, SIOCDIFADDR, &r);
  COMMAND(fd, SIOCADDRT, &r);
}

static void network(void) {
  if (RAW(unshare, CLONE_NEWNET) != 0) interface = "km-none";
  line("unshared %d", strcmp(interface, "lo") == 0);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  addresses(fd);
  state(fd);
  addresses(fd);
  routes(fd);
  bridges(fd);
  sixth_version();
}

int main(void) {
  close_range(3, ~0u, 0);
  in_child("sockets", sockets);
  in_child("network", network);
  return 0;
}
