// SPDX-License-Identifier: Apache-2.0
// Hostile system calls against dispatch_syscall(), with a host kernel that executes nothing and looks at everything:
// whatever reaches it may name only the payload's memory, or a checked copy the monitor made, and no descriptor of the
// monitor. Included by one program each: the fuzz target (test/fuzz) and the unit test (test/native).
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <linux/aio_abi.h>
#include <linux/audit.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "native/base/log.h"
#include "native/base/private_fd.h"
#include "native/confine/filter.h"
#include "native/machine/process.h"
#include "native/syscalls/ioctl_table.h"
#include "native/syscalls/observe.h"
#include "native/syscalls/spec.h"
#include "native/syscalls/syscalls.h"

namespace km_hostile {

using namespace km;

// Low enough for AddressSanitizer's shadow, high enough to have an "outside" below 4 GiB.
constexpr Window kWindow{0x200000, 0x10000000};
constexpr uint64_t kScratch = 0x8000000, kScratchSize = 1 << 20;

[[noreturn]] inline void violated(const char* what, const char* call, uint64_t value) {
  fprintf(stderr, "%s: %s: 0x%lx\n", call, what, value);
  abort();
}

/// Choices of one run: the fuzzer's bytes, zeros when they end.
class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return at_ >= size_; }
  uint8_t byte() { return at_ < size_ ? data_[at_++] : 0; }
  uint64_t word() {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value = value << 8 | byte();
    return value;
  }

 private:
  const uint8_t* data_;
  size_t size_, at_ = 0;
};

struct State {
  Choices* choices = nullptr;
  GuestThread thread;
  int private_fds[3] = {-1, -1, -1};
  uint64_t aio_context = 0;
  std::vector<uint64_t> in_flight;   ///< data words of submitted aio requests
  uint64_t forwarded = 0;            ///< calls that reached the host
  const char* call = "?";
};

inline State& state() {
  static State instance;
  return instance;
}

class NoMachine final : public Machine {
 public:
  Window window() const override { return kWindow; }
  int protect(uint64_t, uint64_t, uint32_t) override { return 0; }
  int fill(uint64_t, uint64_t, uint64_t, uint32_t) override { return 0; }
  int map_private(uint64_t, const void*, uint64_t, uint32_t) override { return 0; }
  std::unique_ptr<Vcpu> create_vcpu(int*) override { return nullptr; }
  uint64_t sigreturn_address() const override { return 0; }
  size_t xstate_size() const override { return 0; }
  uint64_t xcr0() const override { return 0; }
  const char* kind() const override { return "kvm"; }
  void abandon() override {}
};

inline bool inside(uint64_t addr, uint64_t len) {
  return addr == 0 || addr == kNowhere || process().memory->in_window(addr, len);
}
inline bool begins_inside(uint64_t addr) { return addr < kWindow.end || addr == kNowhere; }

inline void must(bool good, const char* what, uint64_t value) {
  if (!good) violated(what, state().call, value);
}

inline void check_iov(uint64_t addr, uint64_t count) {
  if (count > 1024 || addr == kNowhere) return;  // the kernel refuses before it looks, or when it looks
  const auto* iov = reinterpret_cast<const iovec*>(addr);
  for (uint64_t i = 0; i < count; i++)
    must(inside(reinterpret_cast<uint64_t>(iov[i].iov_base), iov[i].iov_len), "iovec", i);
}

inline void check_message(const msghdr& m, bool outgoing) {
  must(begins_inside(reinterpret_cast<uint64_t>(m.msg_name)), "msg_name", reinterpret_cast<uint64_t>(m.msg_name));
  check_iov(reinterpret_cast<uint64_t>(m.msg_iov), m.msg_iovlen);
  if (!outgoing) {
    must(inside(reinterpret_cast<uint64_t>(m.msg_control), m.msg_controllen), "msg_control", m.msg_controllen);
    return;
  }
  if (m.msg_controllen == 0 || reinterpret_cast<uint64_t>(m.msg_control) == kNowhere) return;
  auto* header = const_cast<msghdr*>(&m);
  for (cmsghdr* c = CMSG_FIRSTHDR(header); c != nullptr; c = CMSG_NXTHDR(header, c)) {
    if (c->cmsg_len < sizeof(cmsghdr)) break;
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    size_t room = m.msg_controllen - static_cast<size_t>(reinterpret_cast<char*>(c) - static_cast<char*>(m.msg_control));
    size_t length = std::min<size_t>(c->cmsg_len, room);
    for (size_t at = sizeof(cmsghdr); at + sizeof(int) <= length; at += sizeof(int)) {
      int fd;
      memcpy(&fd, reinterpret_cast<char*>(c) + at, sizeof(fd));
      if (c->cmsg_len <= room) must(!is_private_fd(fd), "SCM_RIGHTS", static_cast<uint64_t>(fd));
    }
  }
}

/// Calls whose handlers replace an argument by the address of a checked copy: what the copy may hold.
/// Returns a mask of the arguments that were checked here.
inline unsigned check_copies(int64_t nr, const uint64_t args[6]) {
  switch (nr) {
    case SYS_readv: case SYS_writev: case SYS_preadv: case SYS_pwritev: case SYS_preadv2: case SYS_pwritev2:
    case SYS_vmsplice:
      check_iov(args[1], args[2]);
      return 2;
    case SYS_process_vm_readv: case SYS_process_vm_writev:
      must(static_cast<pid_t>(args[0]) == getpid(), "foreign process", args[0]);
      check_iov(args[1], args[2]);
      check_iov(args[3], args[4]);
      return 2 | 8;
    case SYS_sendmsg: case SYS_recvmsg:
      if (args[1] == kNowhere) return 2;
      check_message(*reinterpret_cast<const msghdr*>(args[1]), nr == SYS_sendmsg);
      return 2;
    case SYS_sendmmsg: case SYS_recvmmsg:
      if (args[1] == kNowhere) return 2;
      for (uint64_t i = 0; i < args[2]; i++)
        check_message(reinterpret_cast<const mmsghdr*>(args[1])[i].msg_hdr, nr == SYS_sendmmsg);
      return 2;
    case SYS_poll: case SYS_ppoll:
      if (args[0] == kNowhere) return 1;
      for (uint64_t i = 0; i < static_cast<uint32_t>(args[1]); i++)
        must(!is_private_fd(reinterpret_cast<const pollfd*>(args[0])[i].fd), "polled descriptor", i);
      return 1;
    case SYS_timer_create: return 2;
    case SYS_mq_notify: {
      const auto* event = reinterpret_cast<const uint64_t*>(args[1]);
      if (event != nullptr && reinterpret_cast<const int32_t*>(event)[3] == SIGEV_THREAD)
        must(begins_inside(event[0]), "sigev_value", event[0]);
      return 2;
    }
    case 449:  // futex_waitv
      if (args[0] == 0 || args[0] == kNowhere) return 1;
      for (uint64_t i = 0; i < args[1]; i++)
        must(begins_inside(reinterpret_cast<const uint64_t*>(args[0])[3 * i + 1]), "futex_waitv", i);
      return 1;
    case 456:  // futex_requeue
      if (args[0] == 0 || args[0] == kNowhere) return 1;
      for (uint64_t i = 0; i < 2; i++)
        must(begins_inside(reinterpret_cast<const uint64_t*>(args[0])[3 * i + 1]), "futex_requeue", i);
      return 1;
    case 463: case 464: {  // setxattrat, getxattrat
      const auto* in = reinterpret_cast<const uint64_t*>(args[4]);
      must(inside(in[0], static_cast<uint32_t>(in[1])), "xattr value", in[0]);
      return 16;
    }
    case SYS_move_pages:
      must(static_cast<pid_t>(args[0]) == 0 || static_cast<pid_t>(args[0]) == getpid(), "foreign process", args[0]);
      for (uint64_t i = 0; i < args[1]; i++)
        must(inside(reinterpret_cast<const uint64_t*>(args[2])[i], 1), "move_pages", i);
      return 4;
    case SYS_getsockopt: {
      if (args[4] == kNowhere) return 0;
      uint64_t length = *reinterpret_cast<const uint32_t*>(args[4]);
      if (args[1] == SOL_SOCKET && args[2] == SO_GET_FILTER) length *= sizeof(sock_filter);
      must(inside(args[3], length), "getsockopt value", args[3]);
      return 16;
    }
    case SYS_setsockopt: {
      const bool filter = static_cast<int>(args[1]) == SOL_SOCKET &&
                          (static_cast<int>(args[2]) == SO_ATTACH_FILTER || static_cast<int>(args[2]) == SO_ATTACH_REUSEPORT_CBPF);
      if (!filter) return 0;
      if (args[3] == kNowhere) return 0;
      const auto* program = reinterpret_cast<const sock_fprog*>(args[3]);
      must(program->len > 0 && program->filter != nullptr, "filter", program->len);
      must(reinterpret_cast<uint64_t>(program->filter) >= kWindow.end, "filter is not a copy", program->len);
      for (unsigned i = 0; i < program->len; i++)
        *const_cast<volatile uint32_t*>(&program->filter[i].k);  // AddressSanitizer minds the length
      return 8;
    }
    case SYS_openat2: return 4;
    case SYS_mount: return args[4] == 0 ? 0 : 16;
    case SYS_io_getevents: return 1 | 8;
    case SYS_ioctl:
      if (args[2] == kNowhere) return 0;
      switch (static_cast<uint32_t>(args[1])) {
        case 0x8912: {  // SIOCGIFCONF
          const auto* conf = reinterpret_cast<const char*>(args[2]);
          int32_t length;
          uint64_t buffer;
          memcpy(&length, conf, 4);
          memcpy(&buffer, conf + 8, 8);
          must(inside(buffer, length < 0 ? 0 : static_cast<uint64_t>(length)), "ifconf", buffer);
          return 4;
        }
        case 0x890b: case 0x890c: return 4;
        case 0x4020940d:  // FICLONERANGE
          must(!is_private_fd(static_cast<int>(*reinterpret_cast<const int64_t*>(args[2]))), "clone range", 0);
          return 4;
        default:
          return 0;
      }
    default:
      return 0;
  }
}

/// `name:ptr` arguments and numbers of these calls are addresses of the payload or not followed.
inline bool is_number(const CallSpec& call, unsigned index, const uint64_t args[6]) {
  const std::string_view name = call.name;
  if (name == "fcntl") {
    const int cmd = static_cast<int>(args[1]);
    return cmd != F_GETLK && cmd != F_SETLK && cmd != F_SETLKW && cmd != F_OFD_GETLK && cmd != F_OFD_SETLK;
  }
  if (name == "futex") {
    const int op = static_cast<int>(args[1]) & ~(128 | 256);  // FUTEX_CMD_MASK
    return index == 3 && op != 0 && op != 6 && op != 9 && op != 11 && op != 13;
  }
  if (name == "semctl") {
    const int cmd = static_cast<int>(args[2]) & ~0x100;
    return cmd == 0 || (cmd >= 11 && cmd <= 16 && cmd != 13);  // IPC_RMID, GETPID .. SETVAL without GETALL
  }
  if (name == "ioctl") {
    const IoctlCommand* command = find_ioctl(static_cast<uint32_t>(args[1]));
    if (command == nullptr) violated("a command not in the table", "ioctl", args[1]);
    if (command->arg == IoctlArg::kFd && is_private_fd(static_cast<int>(args[2]))) violated("descriptor", "ioctl", args[2]);
    return command->arg != IoctlArg::kMemory;
  }
  return name == "sysfs" || name == "getcpu";
}

/// Length of the memory behind an argument, worked out apart from the monitor's own function.
inline unsigned __int128 length_of(const CallSpec& call, unsigned index, const uint64_t args[6]) {
  const ArgSpec& spec = call.args[index];
  const Arg kind = call.args[spec.arg].kind;
  const bool narrow = kind == Arg::kInt || kind == Arg::kUint;
  const uint64_t value = narrow ? static_cast<uint32_t>(args[spec.arg]) : args[spec.arg];
  if (kind == Arg::kInt && static_cast<int>(value) < 0) return 0;
  return static_cast<unsigned __int128>(value) * spec.mul / spec.div + spec.add;
}

inline void check_prctl(const uint64_t args[6]) {
  constexpr int kPointers[] = {PR_GET_PDEATHSIG, PR_SET_NAME, PR_GET_NAME, PR_GET_TSC, PR_GET_CHILD_SUBREAPER};
  const int option = static_cast<int>(args[0]);
  if (std::find(std::begin(kPointers), std::end(kPointers), option) != std::end(kPointers))
    must(begins_inside(args[1]), "address", args[1]);
  must(option != PR_SET_SECCOMP && option != PR_SET_MM && option != PR_SET_SYSCALL_USER_DISPATCH, "option", args[0]);
}

/// What km's seccomp filter says of a call; its instructions are the few that native/confine/program.cc makes.
inline uint32_t filter_verdict(int64_t nr, const uint64_t args[6]) {
  static const confine::Code code = confine::build_filter({SECCOMP_RET_TRAP, SECCOMP_RET_KILL_PROCESS});
  seccomp_data data{static_cast<int>(nr), AUDIT_ARCH_X86_64, 0, {args[0], args[1], args[2], args[3], args[4], args[5]}};
  uint32_t loaded = 0;
  for (size_t at = 0;; at++) {
    const sock_filter& step = code.at(at);
    const uint8_t offset[2] = {step.jf, step.jt};
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS: memcpy(&loaded, reinterpret_cast<char*>(&data) + step.k, sizeof loaded); break;
      case BPF_JMP | BPF_JEQ | BPF_K: at += offset[loaded == step.k]; break;
      case BPF_JMP | BPF_JGE | BPF_K: at += offset[loaded >= step.k]; break;
      case BPF_JMP | BPF_JSET | BPF_K: at += offset[(loaded & step.k) != 0]; break;
      case BPF_JMP | BPF_JA: at += step.k; break;
      case BPF_RET | BPF_K: return step.k;
      default: violated("instruction", "filter", step.code);
    }
  }
}

inline void check_forwarded(int64_t nr, const uint64_t args[6]) {
  const CallSpec& call = kCalls[static_cast<size_t>(nr)];
  state().call = call.name;
  must(filter_verdict(nr, args) == SECCOMP_RET_ALLOW, "the seccomp filter forbids it", static_cast<uint64_t>(nr));
  const unsigned checked = check_copies(nr, args);
  if (nr == SYS_prctl) check_prctl(args);
  for (unsigned i = 0; i < 6; i++)  // what the payload can reach may change after the check
    if (checked & (1u << i) && args[i] != 0 && nr != SYS_io_getevents) must(args[i] >= kWindow.end, "not a copy", args[i]);
  for (unsigned i = 0; i < call.count; i++) {
    if (checked & (1u << i)) continue;
    const ArgSpec& spec = call.args[i];
    const uint64_t value = args[i];
    switch (spec.kind) {
      case Arg::kFd: case Arg::kDirFd:
        must(!is_private_fd(static_cast<int>(value)), "descriptor", value);
        break;
      case Arg::kPath: case Arg::kStr:
        must(begins_inside(value) || value == reinterpret_cast<uint64_t>(process().exe_path.c_str()), "path", value);
        break;
      case Arg::kIn: case Arg::kOut: case Arg::kInOut: case Arg::kInBuf: case Arg::kOutBuf:
        if (spec.arg < 0) must(begins_inside(value), "pointer", value);
        else if (unsigned __int128 length = length_of(call, i, args); value != 0 && value != kNowhere && (value != kWindow.start || length != 0))
          must(length <= UINT64_MAX && inside(value, static_cast<uint64_t>(length)), "range", value);
        break;
      case Arg::kPtr:
        if (!is_number(call, i, args)) must(begins_inside(value), "address", value);
        break;
      default:
        break;
    }
  }
}

/// A result the call might have had: success, a length, or an error.
inline int64_t some_result(uint64_t most) {
  const uint8_t choice = state().choices->byte();
  if (choice < 80) return -static_cast<int64_t>(1 + choice % 40);
  if (choice < 100) return kRestartCall;
  return most == 0 ? 0 : static_cast<int64_t>(state().choices->byte() % (most + 1));
}

inline int64_t fake_io_submit(const uint64_t args[6]) {
  const auto* request = *reinterpret_cast<iocb* const*>(args[2]);
  state().call = "io_submit";
  must(!is_private_fd(static_cast<int>(request->aio_fildes)), "aio_fildes", request->aio_fildes);
  if (request->aio_flags & IOCB_FLAG_RESFD) must(!is_private_fd(static_cast<int>(request->aio_resfd)), "aio_resfd", 0);
  if (request->aio_lio_opcode <= IOCB_CMD_PWRITE) must(inside(request->aio_buf, request->aio_nbytes), "aio_buf", request->aio_buf);
  if (request->aio_lio_opcode == IOCB_CMD_PREADV || request->aio_lio_opcode == IOCB_CMD_PWRITEV)
    check_iov(request->aio_buf, request->aio_nbytes);
  if (state().choices->byte() < 60) return -EAGAIN;
  state().in_flight.push_back(request->aio_data);
  return 1;
}

inline int64_t fake_io_getevents(const uint64_t args[6]) {
  auto* events = reinterpret_cast<io_event*>(args[3]);
  int64_t count = 0;
  while (!state().in_flight.empty() && count < static_cast<int64_t>(args[2])) {
    events[count++] = {state().in_flight.back(), 0, 0, 0};
    state().in_flight.pop_back();
  }
  return count;
}

}  // namespace km_hostile

namespace km {

Process& process() {
  static Process instance;
  return instance;
}

int copy_from_guest(void* to, uint64_t from, size_t len) {
  if (!process().memory->in_window(from, len)) return -EFAULT;
  if (len == 0) return 0;
  if (from < km_hostile::kScratch || from + len > km_hostile::kScratch + km_hostile::kScratchSize) return -EFAULT;
  memcpy(to, reinterpret_cast<const void*>(from), len);
  return 0;
}

int copy_to_guest(uint64_t to, const void* from, size_t len) {
  if (!process().memory->in_window(to, len)) return -EFAULT;
  if (len == 0) return 0;
  if (to < km_hostile::kScratch || to + len > km_hostile::kScratch + km_hostile::kScratchSize) return -EFAULT;
  memcpy(reinterpret_cast<void*>(to), from, len);
  return 0;
}

int64_t copy_string_from_guest(char* to, uint64_t from, size_t size) {
  for (size_t i = 0; i < size; i++) {
    if (copy_from_guest(to + i, from + i, 1) != 0) return -EFAULT;
    if (to[i] == '\0') return static_cast<int64_t>(i);
  }
  return -ENAMETOOLONG;
}

int64_t forward_syscall(GuestThread&, int64_t nr, const uint64_t args[6]) {
  using namespace km_hostile;
  check_forwarded(nr, args);
  state().forwarded++;
  switch (nr) {
    case SYS_io_getevents: return fake_io_getevents(args);
    case SYS_recvmmsg: case SYS_sendmmsg: return args[1] == kNowhere ? -EFAULT : some_result(std::min<uint64_t>(args[2], 255));
    case SYS_readlinkat: return some_result(std::min<uint64_t>(static_cast<uint32_t>(args[3]), 255));
    case SYS_getdents: case SYS_getdents64: return some_result(std::min<uint64_t>(static_cast<uint32_t>(args[2]), 255));
    case SYS_open: case SYS_openat: case SYS_openat2: case SYS_open_by_handle_at: {
      const int64_t result = some_result(0);
      return result < 0 ? result : 100;
    }
    default: return some_result(16);
  }
}

int64_t host_syscall(int64_t nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t, uint64_t) {
  using namespace km_hostile;
  const uint64_t args[6] = {a0, a1, a2, 0, 0, 0};
  must(filter_verdict(nr, args) == SECCOMP_RET_ALLOW, "the seccomp filter forbids it", static_cast<uint64_t>(nr));
  switch (nr) {
    case SYS_fstatfs: {
      auto* fs = reinterpret_cast<struct statfs*>(a1);
      memset(fs, 0, sizeof(*fs));
      fs->f_type = state().choices->byte() & 1 ? PROC_SUPER_MAGIC : EXT4_SUPER_MAGIC;
      return 0;
    }
    case SYS_fstat: {
      auto* st = reinterpret_cast<struct stat*>(a1);
      memset(st, 0, sizeof(*st));
      st->st_mode = S_IFREG;
      st->st_ino = state().choices->byte() % 4;
      return 0;
    }
    case SYS_readlinkat: {
      const char* names[] = {"/proc/1/mem", "/proc/7/fd", "/proc/7/maps", "/x", "/proc/7/task/7/stat", "", "/proc/self/fdinfo"};
      const char* name = names[state().choices->byte() % std::size(names)];
      const size_t length = std::min<size_t>(strlen(name), 64);
      memcpy(reinterpret_cast<void*>(a2), name, length);
      return static_cast<int64_t>(length);
    }
    case SYS_io_setup:
      *reinterpret_cast<uint64_t*>(a1) = 1;
      return 0;
    case SYS_io_submit: return fake_io_submit(args);
    case SYS_close_range:
      state().call = "close_range";
      for (int fd : state().private_fds)
        must(static_cast<unsigned>(fd) < a0 || static_cast<unsigned>(fd) > a1, "closes", static_cast<uint64_t>(fd));
      return 0;
    case SYS_getsockopt:
      *reinterpret_cast<int*>(a3) = AF_INET;
      return 0;
    case SYS_openat: return state().choices->byte() & 1 ? 101 : -ENOENT;
    case SYS_dup3: return static_cast<int64_t>(a1);
    case SYS_close: case SYS_fcntl: return 0;
    default: return -ENOSYS;
  }
}

// The machine's own handlers (native/machine) are not under test here.
#define STUB(name) \
  int64_t sys_##name(GuestThread&, const uint64_t[6]) { return 0; }
STUB(clone) STUB(clone3) STUB(fork) STUB(vfork) STUB(execve) STUB(execveat) STUB(exit) STUB(exit_group)
STUB(set_tid_address) STUB(arch_prctl) STUB(rt_sigaction) STUB(rt_sigprocmask) STUB(rt_sigreturn) STUB(rt_sigpending)
STUB(rt_sigsuspend) STUB(rt_sigtimedwait) STUB(sigaltstack) STUB(pause) STUB(ppoll) STUB(pselect6) STUB(epoll_pwait)
STUB(epoll_pwait2)
#undef STUB

}  // namespace km

namespace km_hostile {

/// One argument: sensible, hostile, or just bytes.
inline uint64_t some_value(Choices& c) {
  static char monitor_memory[4096];
  State& s = state();
  switch (c.byte() % 12) {
    case 0: case 1: case 2: return kScratch + (c.word() % kScratchSize);
    case 3: return (kScratch + (c.word() % kScratchSize)) & ~4095ull;
    case 4: return kWindow.end - 64 + c.byte();
    case 5: return reinterpret_cast<uint64_t>(monitor_memory) + c.byte();
    case 6: return c.byte();
    case 7: return 0;
    case 8: return static_cast<uint64_t>(s.private_fds[c.byte() % 3]);
    case 9: return static_cast<uint64_t>(-static_cast<int64_t>(c.byte()));
    case 10: return c.word() >> (c.byte() % 64);
    default: return static_cast<uint64_t>(getpid());
  }
}

/// Constants that open doors: commands, levels, options.
inline uint64_t some_constant(Choices& c) {
  static constexpr uint64_t kConstants[] = {
      SOL_SOCKET, SO_ATTACH_FILTER, SO_GET_FILTER, SO_ATTACH_REUSEPORT_CBPF, 0x8912, 0x890b, 0x890c, 0x4020940d, 0x5401,
      F_SETLK, F_DUPFD, 0x41555856, 0x53564d41, 4, 14, 40, 56, 1ull << 32, 1024, 1025, SIGEV_THREAD, AT_FDCWD & 0xffffffffu};
  return kConstants[c.byte() % std::size(kConstants)];
}

/// Fills a part of the payload's memory with structures in the making.
inline void fill_scratch(Choices& c) {
  auto* words = reinterpret_cast<uint64_t*>(kScratch);
  const unsigned count = c.byte() % 32;
  const uint64_t start = (c.word() % kScratchSize) / 8;
  for (unsigned i = 0; i < count && start + i < kScratchSize / 8; i++)
    words[start + i] = c.byte() & 3 ? some_value(c) : some_constant(c);
  if (c.byte() & 1) return;
  // A message with control data, at the beginning, where arguments point often.
  words[0] = some_value(c), words[1] = c.byte();
  words[2] = kScratch + 64, words[3] = c.byte() % 4;
  words[4] = kScratch + 256, words[5] = 16 + c.byte() % 64;
  for (int i = 0; i < 8; i++) words[8 + i] = some_value(c);
  words[32] = 16 + c.byte() % 16, words[33] = uint64_t{SCM_RIGHTS} << 32 | SOL_SOCKET;
  words[34] = some_value(c), words[35] = some_value(c);
}

inline uint64_t* at(uint64_t offset) { return reinterpret_cast<uint64_t*>(kScratch + offset); }

/// Calls whose depths random arguments rarely reach: sets the decisive arguments and structures. Returns the number.
inline uint64_t recipe(Choices& c, uint64_t args[6]) {
  static constexpr uint64_t kFcntl[] = {F_GETLK, F_SETLK, F_SETLKW, F_OFD_SETLK, F_GETOWN_EX, F_SETOWN_EX, 1036};
  static constexpr uint64_t kFutex[] = {0, 1, 3, 4, 5, 6, 9, 11, 12, 13, 128, 134};
  static constexpr uint64_t kIoctl[] = {0x5401, 0x5413, 0x541b, 0x5421, 0x40049409, 0x8913, 0x80081272, 0x8946, 0xae01};
  static constexpr uint64_t kPrctl[] = {PR_SET_NAME, PR_GET_NAME, PR_GET_PDEATHSIG, PR_SET_SECCOMP, 0x41555856, 0x53564d41};
  constexpr uint64_t kAt = 4096;
  at(kAt)[0] = some_value(c);
  at(kAt)[1] = some_value(c);
  switch (c.byte() % 11) {
    case 0:
      args[1] = SOL_SOCKET, args[2] = c.byte() & 1 ? SO_ATTACH_FILTER : SO_ATTACH_REUSEPORT_CBPF;
      args[3] = kScratch + kAt, args[4] = sizeof(sock_fprog);
      at(kAt)[0] = c.byte() % 80;
      return SYS_setsockopt;
    case 1:
      args[1] = SOL_SOCKET, args[2] = SO_GET_FILTER, args[3] = some_value(c), args[4] = kScratch + kAt;
      if (c.byte() & 1) args[3] = kWindow.end - 1024 - c.byte();
      at(kAt)[0] = c.byte() * 8u;
      return SYS_getsockopt;
    case 2:
      args[1] = kFcntl[c.byte() % std::size(kFcntl)], args[2] = some_value(c);
      return SYS_fcntl;
    case 3:
      args[0] = state().aio_context, args[1] = c.byte() % 3, args[2] = kScratch + kAt;
      at(kAt)[0] = at(kAt)[1] = kScratch + 2 * kAt;
      for (unsigned i = 0; i < 8; i++) at(2 * kAt)[i] = some_value(c);
      at(2 * kAt)[2] = c.byte() % 9 | (some_value(c) & 0xffffffff) << 32;
      return SYS_io_submit;
    case 4:
      args[0] = state().aio_context, args[1] = 0, args[2] = c.byte() % 8, args[3] = some_value(c);
      return SYS_io_getevents;
    case 5:
      args[1] = kScratch + kAt;
      at(kAt)[1] = uint64_t{SIGEV_THREAD} << 32 | (some_value(c) & 0xffffffff);
      return SYS_mq_notify;
    case 6:
      args[1] = c.byte() & 1 ? 0x8912 : 0x4020940d, args[2] = kScratch + kAt;
      return SYS_ioctl;
    case 7:
      args[1] = kIoctl[c.byte() % std::size(kIoctl)], args[2] = some_value(c);
      return SYS_ioctl;
    case 8:
      args[1] = kFutex[c.byte() % std::size(kFutex)], args[3] = some_value(c), args[4] = some_value(c);
      return SYS_futex;
    case 9:
      args[0] = kPrctl[c.byte() % std::size(kPrctl)], args[1] = some_value(c);
      return SYS_prctl;
    default:
      args[2] = c.byte() % 20, args[3] = some_value(c);
      return SYS_semctl;
  }
}

/// These would really change the process that tests (the address space's own calls are executed by the real kernel).
inline bool left_out(const char* name) {
  static const std::set<std::string_view> kLeftOut = {
      "mmap", "mprotect", "munmap", "brk", "mremap", "madvise", "msync", "mincore", "pkey_mprotect", "shmat", "shmdt",
      "km_unmapself", "io_setup", "io_destroy"};
  return kLeftOut.contains(name);
}

inline void start() {
  Process& p = process();
  p.machine = std::make_unique<NoMachine>();
  p.memory = std::make_unique<AddressSpace>(*p.machine);
  p.exe_path = "/bin/payload";
  p.argv = {"payload"};
  p.auxv = {0, 0};
  void* scratch = mmap(reinterpret_cast<void*>(kScratch), kScratchSize, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (scratch != reinterpret_cast<void*>(kScratch)) violated("no scratch memory", "mmap", kScratch);
  for (int& fd : state().private_fds) fd = make_private_fd(open("/dev/null", O_RDONLY));
  Choices none(nullptr, 0);
  state().choices = &none;
  const uint64_t setup[6] = {8, kScratch};
  if (dispatch_syscall(state().thread, SYS_io_setup, setup) != 0) violated("no context", "io_setup", 0);
  state().aio_context = *reinterpret_cast<uint64_t*>(kScratch);
  log_open("none");
  trace_syscalls("all");
}

/// Makes the calls that the bytes say.
inline void run(const uint8_t* data, size_t size) {
  Choices choices(data, size);
  State& s = state();
  s.choices = &choices;
  memset(reinterpret_cast<void*>(kScratch), 0, 4096);
  while (!choices.empty()) {
    fill_scratch(choices);
    uint64_t nr = (choices.byte() | choices.byte() << 8) % kCallCount;
    if (kCalls[nr].name != nullptr && left_out(kCalls[nr].name)) continue;
    uint64_t args[6];
    for (uint64_t& arg : args) arg = choices.byte() & 3 ? some_value(choices) : some_constant(choices);
    if (choices.byte() & 1) args[1] = kScratch;  // where a message lies
    if (choices.byte() % 4 == 0) nr = recipe(choices, args);
    s.call = syscall_name(nr) != nullptr ? syscall_name(nr) : "unknown";
    dispatch_syscall(s.thread, nr, args);
  }
}

}  // namespace km_hostile
