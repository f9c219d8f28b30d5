// SPDX-License-Identifier: Apache-2.0
#include "native/syscalls/names.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <span>

#include "native/syscalls/ioctl_table.h"

namespace km {
namespace {

struct Name {
  uint64_t value;
  const char* text;
};

#define NAME(constant) {static_cast<uint64_t>(constant), #constant}

// Flag words: first entries with mask 0 are names of the value 0; multi-bit names come before the bits they contain.
constexpr Name kOpenNames[] = {
    NAME(O_WRONLY), NAME(O_RDWR), NAME(O_CREAT), NAME(O_EXCL), NAME(O_NOCTTY), NAME(O_TRUNC), NAME(O_APPEND),
    NAME(O_NONBLOCK), NAME(O_TMPFILE), NAME(O_DIRECTORY), NAME(O_SYNC), NAME(O_DSYNC), NAME(O_ASYNC), NAME(O_DIRECT),
    {0100000, "O_LARGEFILE"}, NAME(O_NOFOLLOW), NAME(O_NOATIME), NAME(O_CLOEXEC), NAME(O_PATH)};
constexpr Name kAccessNames[] = {NAME(R_OK), NAME(W_OK), NAME(X_OK)};
constexpr Name kProtNames[] = {NAME(PROT_READ), NAME(PROT_WRITE), NAME(PROT_EXEC)};
constexpr Name kMapNames[] = {
    NAME(MAP_SHARED_VALIDATE), NAME(MAP_SHARED), NAME(MAP_PRIVATE), NAME(MAP_32BIT), NAME(MAP_FIXED),
    NAME(MAP_ANONYMOUS), NAME(MAP_GROWSDOWN), NAME(MAP_DENYWRITE), NAME(MAP_LOCKED), NAME(MAP_NORESERVE),
    NAME(MAP_POPULATE), NAME(MAP_NONBLOCK), NAME(MAP_STACK), NAME(MAP_HUGETLB), NAME(MAP_SYNC),
    NAME(MAP_FIXED_NOREPLACE)};
constexpr Name kMremapNames[] = {NAME(MREMAP_MAYMOVE), NAME(MREMAP_FIXED), NAME(MREMAP_DONTUNMAP)};
constexpr Name kMadviseNames[] = {
    NAME(MADV_NORMAL), NAME(MADV_RANDOM), NAME(MADV_SEQUENTIAL), NAME(MADV_WILLNEED), NAME(MADV_DONTNEED),
    NAME(MADV_FREE), NAME(MADV_REMOVE), NAME(MADV_DONTFORK), NAME(MADV_DOFORK), NAME(MADV_MERGEABLE),
    NAME(MADV_UNMERGEABLE), NAME(MADV_HUGEPAGE), NAME(MADV_NOHUGEPAGE), NAME(MADV_DONTDUMP), NAME(MADV_DODUMP),
    NAME(MADV_WIPEONFORK), NAME(MADV_KEEPONFORK), NAME(MADV_COLD), NAME(MADV_PAGEOUT), NAME(MADV_POPULATE_READ),
    NAME(MADV_POPULATE_WRITE), {25, "MADV_COLLAPSE"}, {102, "MADV_GUARD_INSTALL"}, {103, "MADV_GUARD_REMOVE"}};
constexpr Name kWhenceNames[] = {NAME(SEEK_SET), NAME(SEEK_CUR), NAME(SEEK_END), NAME(SEEK_DATA), NAME(SEEK_HOLE)};
constexpr Name kSigHowNames[] = {NAME(SIG_BLOCK), NAME(SIG_UNBLOCK), NAME(SIG_SETMASK)};
constexpr Name kFamilyNames[] = {
    NAME(AF_UNSPEC), NAME(AF_UNIX), NAME(AF_INET), NAME(AF_INET6), NAME(AF_NETLINK), NAME(AF_PACKET), NAME(AF_ALG),
    NAME(AF_VSOCK)};
constexpr Name kSockTypeNames[] = {
    NAME(SOCK_SEQPACKET), NAME(SOCK_RAW), NAME(SOCK_DGRAM), NAME(SOCK_STREAM), NAME(SOCK_CLOEXEC), NAME(SOCK_NONBLOCK)};
constexpr Name kMsgNames[] = {
    NAME(MSG_OOB), NAME(MSG_PEEK), NAME(MSG_DONTROUTE), NAME(MSG_CTRUNC), NAME(MSG_TRUNC), NAME(MSG_DONTWAIT),
    NAME(MSG_EOR), NAME(MSG_WAITALL), NAME(MSG_CONFIRM), NAME(MSG_ERRQUEUE), NAME(MSG_NOSIGNAL), NAME(MSG_MORE),
    NAME(MSG_WAITFORONE), NAME(MSG_ZEROCOPY), NAME(MSG_FASTOPEN), NAME(MSG_CMSG_CLOEXEC)};
constexpr Name kFcntlNames[] = {
    NAME(F_DUPFD), NAME(F_GETFD), NAME(F_SETFD), NAME(F_GETFL), NAME(F_SETFL), NAME(F_GETLK), NAME(F_SETLK),
    NAME(F_SETLKW), NAME(F_SETOWN), NAME(F_GETOWN), NAME(F_SETSIG), NAME(F_GETSIG), NAME(F_SETOWN_EX),
    NAME(F_GETOWN_EX), NAME(F_OFD_GETLK), NAME(F_OFD_SETLK), NAME(F_OFD_SETLKW), NAME(F_SETLEASE), NAME(F_GETLEASE),
    NAME(F_NOTIFY), NAME(F_DUPFD_CLOEXEC), NAME(F_SETPIPE_SZ), NAME(F_GETPIPE_SZ), NAME(F_ADD_SEALS),
    NAME(F_GET_SEALS), NAME(F_GET_RW_HINT), NAME(F_SET_RW_HINT), NAME(F_GET_FILE_RW_HINT), NAME(F_SET_FILE_RW_HINT)};
constexpr Name kAtNames[] = {
    NAME(AT_SYMLINK_NOFOLLOW), NAME(AT_REMOVEDIR), NAME(AT_SYMLINK_FOLLOW), NAME(AT_NO_AUTOMOUNT), NAME(AT_EMPTY_PATH),
    NAME(AT_STATX_FORCE_SYNC), NAME(AT_STATX_DONT_SYNC), NAME(AT_RECURSIVE)};
constexpr Name kClockNames[] = {
    NAME(CLOCK_REALTIME), NAME(CLOCK_MONOTONIC), NAME(CLOCK_PROCESS_CPUTIME_ID), NAME(CLOCK_THREAD_CPUTIME_ID),
    NAME(CLOCK_MONOTONIC_RAW), NAME(CLOCK_REALTIME_COARSE), NAME(CLOCK_MONOTONIC_COARSE), NAME(CLOCK_BOOTTIME),
    NAME(CLOCK_REALTIME_ALARM), NAME(CLOCK_BOOTTIME_ALARM), NAME(CLOCK_TAI)};
constexpr Name kFutexNames[] = {
    NAME(FUTEX_WAIT), NAME(FUTEX_WAKE), NAME(FUTEX_REQUEUE), NAME(FUTEX_CMP_REQUEUE), NAME(FUTEX_WAKE_OP),
    NAME(FUTEX_LOCK_PI), NAME(FUTEX_UNLOCK_PI), NAME(FUTEX_TRYLOCK_PI), NAME(FUTEX_WAIT_BITSET),
    NAME(FUTEX_WAKE_BITSET), NAME(FUTEX_WAIT_REQUEUE_PI), NAME(FUTEX_CMP_REQUEUE_PI), NAME(FUTEX_LOCK_PI2)};
constexpr Name kEpollOpNames[] = {NAME(EPOLL_CTL_ADD), NAME(EPOLL_CTL_DEL), NAME(EPOLL_CTL_MOD)};
constexpr Name kRlimitNames[] = {
    NAME(RLIMIT_CPU), NAME(RLIMIT_FSIZE), NAME(RLIMIT_DATA), NAME(RLIMIT_STACK), NAME(RLIMIT_CORE), NAME(RLIMIT_RSS),
    NAME(RLIMIT_NPROC), NAME(RLIMIT_NOFILE), NAME(RLIMIT_MEMLOCK), NAME(RLIMIT_AS), NAME(RLIMIT_LOCKS),
    NAME(RLIMIT_SIGPENDING), NAME(RLIMIT_MSGQUEUE), NAME(RLIMIT_NICE), NAME(RLIMIT_RTPRIO), NAME(RLIMIT_RTTIME)};
constexpr Name kPrctlNames[] = {
    NAME(PR_SET_PDEATHSIG), NAME(PR_GET_PDEATHSIG), NAME(PR_GET_DUMPABLE), NAME(PR_SET_DUMPABLE), NAME(PR_GET_KEEPCAPS),
    NAME(PR_SET_KEEPCAPS), NAME(PR_SET_NAME), NAME(PR_GET_NAME), NAME(PR_GET_SECCOMP), NAME(PR_SET_SECCOMP),
    NAME(PR_CAPBSET_READ), NAME(PR_CAPBSET_DROP), NAME(PR_GET_TSC), NAME(PR_SET_TSC), NAME(PR_GET_SECUREBITS),
    NAME(PR_SET_SECUREBITS), NAME(PR_SET_TIMERSLACK), NAME(PR_GET_TIMERSLACK), NAME(PR_SET_MM), NAME(PR_SET_PTRACER),
    NAME(PR_SET_CHILD_SUBREAPER), NAME(PR_GET_CHILD_SUBREAPER), NAME(PR_SET_NO_NEW_PRIVS), NAME(PR_GET_NO_NEW_PRIVS),
    NAME(PR_GET_TID_ADDRESS), NAME(PR_SET_THP_DISABLE), NAME(PR_GET_THP_DISABLE), NAME(PR_CAP_AMBIENT),
    NAME(PR_SET_SYSCALL_USER_DISPATCH), {0x53564d41, "PR_SET_VMA"}, {0x41555856, "PR_GET_AUXV"}};

constexpr const char* kSignalNames[] = {
    "0",       "SIGHUP",  "SIGINT",    "SIGQUIT", "SIGILL",  "SIGTRAP", "SIGABRT", "SIGBUS",
    "SIGFPE",  "SIGKILL", "SIGUSR1",   "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM",
    "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG",
    "SIGXCPU", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO",  "SIGPWR",  "SIGSYS"};

std::span<const Name> names_of(Names set) {
  switch (set) {
    case Names::kOpen: return kOpenNames;
    case Names::kAccess: return kAccessNames;
    case Names::kProt: return kProtNames;
    case Names::kMap: return kMapNames;
    case Names::kMremap: return kMremapNames;
    case Names::kMadvise: return kMadviseNames;
    case Names::kWhence: return kWhenceNames;
    case Names::kSigHow: return kSigHowNames;
    case Names::kFamily: return kFamilyNames;
    case Names::kSockType: return kSockTypeNames;
    case Names::kMsg: return kMsgNames;
    case Names::kFcntl: return kFcntlNames;
    case Names::kAt: return kAtNames;
    case Names::kClock: return kClockNames;
    case Names::kFutex: return kFutexNames;
    case Names::kEpollOp: return kEpollOpNames;
    case Names::kRlimit: return kRlimitNames;
    case Names::kPrctl: return kPrctlNames;
    default: return {};
  }
}

/// What a flag word is called when no bit is set.
const char* zero_name(Names set) {
  switch (set) {
    case Names::kOpen: return "O_RDONLY";
    case Names::kAccess: return "F_OK";
    case Names::kProt: return "PROT_NONE";
    default: return "0";
  }
}

/// SOCK_* types and FUTEX_* operations are numbers with flags above them.
void add_number_with_flags(Text& out, std::span<const Name> names, uint64_t number, uint64_t flags, Names set) {
  const char* text = nullptr;
  for (const Name& name : names)
    if (name.value == number) text = name.text;
  if (text != nullptr) out.add("%s", text);
  if (text == nullptr) out.add("%" PRIu64, number);
  if (set == Names::kFutex) {
    if (flags & FUTEX_PRIVATE_FLAG) out.add("|FUTEX_PRIVATE_FLAG");
    if (flags & FUTEX_CLOCK_REALTIME) out.add("|FUTEX_CLOCK_REALTIME");
    return;
  }
  if (flags & SOCK_CLOEXEC) out.add("|SOCK_CLOEXEC");
  if (flags & SOCK_NONBLOCK) out.add("|SOCK_NONBLOCK");
}

}  // namespace

void Text::add(const char* format, ...) {
  va_list args;
  va_start(args, format);
  int wanted = vsnprintf(text_ + size_, kRoom - size_, format, args);
  va_end(args);
  if (wanted < 0) return;
  size_ += static_cast<size_t>(wanted) < kRoom - size_ ? static_cast<size_t>(wanted) : kRoom - size_ - 1;
}

void Text::add_char(char c) {
  if (size_ + 1 >= kRoom) return;
  text_[size_++] = c;
  text_[size_] = '\0';
}

void add_set(Text& out, Names set, uint64_t value) {
  value = static_cast<uint32_t>(value);
  if (set == Names::kSockType) return add_number_with_flags(out, names_of(set), value & 0xf, value & ~0xfull, set);
  if (set == Names::kFutex) return add_number_with_flags(out, names_of(set), value & 0x7f, value & ~0x7full, set);
  const char* separator = "";
  if (set == Names::kOpen && (value & O_ACCMODE) == 0 && !(value & O_PATH)) {
    out.add("O_RDONLY");
    separator = "|";
  }
  for (const Name& name : names_of(set)) {
    if (name.value == 0 || (value & name.value) != name.value) continue;
    out.add("%s%s", separator, name.text);
    separator = "|";
    value &= ~name.value;
  }
  if (value != 0) out.add("%s0x%" PRIx64, separator, value);
  else if (*separator == '\0') out.add("%s", zero_name(set));
}

void add_enum(Text& out, Names set, uint64_t value) {
  value = static_cast<uint32_t>(value);
  if (set == Names::kIoctl) {
    const char* text = ioctl_name(static_cast<uint32_t>(value));
    if (text != nullptr) out.add("%s", text);
    else out.add("0x%" PRIx64, value);
    return;
  }
  for (const Name& name : names_of(set)) {
    if (name.value != value) continue;
    out.add("%s", name.text);
    return;
  }
  out.add("%d", static_cast<int>(value));
}

void add_signal(Text& out, int signo) {
  if (signo >= 0 && static_cast<size_t>(signo) < std::size(kSignalNames)) out.add("%s", kSignalNames[signo]);
  else if (signo >= 32 && signo <= 64) out.add("SIGRT_%d", signo - 32);
  else out.add("%d", signo);
}

const char* error_name(int error) {
  const char* name = strerrorname_np(error);
  return name != nullptr ? name : "?";
}

}  // namespace km
