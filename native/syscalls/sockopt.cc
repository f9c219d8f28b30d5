// SPDX-License-Identifier: Apache-2.0
// Socket options. Values are plain bytes for nearly all; the exceptions hold addresses and are copied or refused.
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "native/syscalls/internal.h"

namespace km {
namespace {

// Levels whose option values are plain bytes, the exceptions below aside (linux/socket.h, netinet/in.h). AF_XDP, RDS,
// TIPC, Bluetooth and whatever comes are not: an option may register memory with the kernel.
constexpr int kMptcp = 284, kSctp = 132, kTls = 282, kNetlink = 270, kPacket = 263, kAlg = 279, kVsock = 40, kUdplite = 136;
constexpr int kLevels[] = {SOL_SOCKET,  IPPROTO_IP, IPPROTO_IPV6, IPPROTO_ICMP,   IPPROTO_ICMPV6, IPPROTO_TCP,
                           IPPROTO_UDP, kUdplite,   IPPROTO_RAW,  IPPROTO_DCCP, kSctp,          kNetlink,
                           kPacket,     kTls,       kAlg,         kMptcp,       kVsock};

struct Option {
  int level, option;
};

// With addresses inside: linux/tcp.h, linux/mptcp.h, linux/sctp.h, linux/if_packet.h, netfilter's x_tables headers
// (64, 65: replace rules and counters; 96, 97: arp_tables; 128, 129: ebtables).
constexpr Option kRefused[] = {
    {IPPROTO_TCP, 35 /* TCP_ZEROCOPY_RECEIVE */}, {kMptcp, 4 /* MPTCP_FULL_INFO */},
    {kSctp, 111 /* SCTP_SOCKOPT_CONNECTX3 */}, {kPacket, 22 /* PACKET_FANOUT_DATA */},
    {IPPROTO_IP, 64}, {IPPROTO_IP, 65}, {IPPROTO_IP, 96}, {IPPROTO_IP, 97}, {IPPROTO_IP, 128}, {IPPROTO_IP, 129},
    {IPPROTO_IP, 130}, {IPPROTO_IP, 131}, {IPPROTO_IPV6, 64}, {IPPROTO_IPV6, 65},
};

bool allowed(int level, int option) {
  for (const Option& refused : kRefused)
    if (refused.level == level && refused.option == option) return false;
  for (int known : kLevels)
    if (known == level) return true;
  return false;
}

int refuse(int level, int option) {
  log_refused_once("socket option (level << 16 | number)", static_cast<uint64_t>(level) << 16 | static_cast<uint32_t>(option));
  return -ENOPROTOOPT;
}

/// SO_ATTACH_FILTER and SO_ATTACH_REUSEPORT_CBPF: {length, address of instructions}.
int64_t set_filter(GuestThread& thread, const uint64_t args[6]) {
  sock_fprog program{};
  if (static_cast<uint32_t>(args[4]) != sizeof(program)) return -EINVAL;
  if (copy_from_guest(&program, args[3], sizeof(program)) != 0)
    return forward(thread, SYS_setsockopt, args[0], args[1], args[2], kNowhere, sizeof(program));
  GuestArray<sock_filter, 64> code;
  if (program.len == 0 || program.len > BPF_MAXINSNS) return -EINVAL;
  if (int error = code.load(word(program.filter), program.len); error != 0) return error;
  program.filter = code.data();
  return forward(thread, SYS_setsockopt, args[0], args[1], args[2], word(&program), sizeof(program));
}

}  // namespace

int64_t sys_setsockopt(GuestThread& thread, const uint64_t args[6]) {
  const int level = static_cast<int>(args[1]), option = static_cast<int>(args[2]);
  if (!allowed(level, option)) return refuse(level, option);
  if (level == SOL_SOCKET && (option == SO_ATTACH_FILTER || option == SO_ATTACH_REUSEPORT_CBPF))
    return set_filter(thread, args);
  return forward_syscall(thread, SYS_setsockopt, args);
}

int64_t sys_getsockopt(GuestThread& thread, const uint64_t args[6]) {
  const int level = static_cast<int>(args[1]), option = static_cast<int>(args[2]);
  if (!allowed(level, option)) return refuse(level, option);
  // The length is a value-result argument in memory: the kernel gets a copy that cannot change under it.
  socklen_t length = 0;
  if (copy_from_guest(&length, args[4], sizeof(length)) != 0)
    return forward(thread, SYS_getsockopt, args[0], args[1], args[2], kNowhere, kNowhere);
  const bool filter = level == SOL_SOCKET && option == SO_GET_FILTER;  // counts instructions, not bytes
  const uint64_t value = safe_range(args[3], filter ? uint64_t{length} * sizeof(sock_filter) : length);
  int64_t result = forward(thread, SYS_getsockopt, args[0], args[1], args[2], value, word(&length));
  if (result < 0) return result;
  int error = copy_to_guest(args[4], &length, sizeof(length));
  return error != 0 ? error : result;
}

}  // namespace km
