// SPDX-License-Identifier: Apache-2.0
// The real filter in the real kernel, asked about every number and about every value of the arguments it looks at, as a
// monitor that has been taken over would ask. Nothing asked for happens: a first filter answers whatever the second,
// km's, lets through with an errno of its own. What must come out is worked out here from the tables and not from the
// program. With an argument it only lists what the filter lets through, for test/syscalls/filter.test.ts.
#include <errno.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "native/confine/confine.h"
#include "native/confine/filter.h"
#include "native/syscalls/allowed.h"
#include "native/syscalls/ioctl_table.h"
#include "native/syscalls/spec.h"
#include "test/native/check.h"

using namespace km;
using namespace km::confine;

namespace {

constexpr long kLetThrough = 4000;             // no errno of the kernel's
constexpr long kForbidden = 4001;
constexpr uint64_t kMark = 0x6b6d5f6d61726b21;  // sixth argument of a call that only asks

volatile sig_atomic_t stopped = 0;

void on_forbidden(int, siginfo_t* info, void* context) {
  if (info->si_code != 1 /* SYS_SECCOMP */) _exit(90);
  stopped = 1;
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = -kForbidden;
}

/// errno of a call that is only asked for.
long ask(uint64_t nr, uint64_t a0 = 0, uint64_t a1 = 0) {
  register uint64_t r10 asm("r10") = 0, r8 asm("r8") = 0, r9 asm("r9") = kMark;
  int64_t result = static_cast<int64_t>(nr);
  // Executes nothing: see the head of the file.
  asm volatile("syscall\n\txorl %%r9d, %%r9d"  // the next call is no question
               : "+a"(result), "+r"(r9)
               : "D"(a0), "S"(a1), "d"(0), "r"(r10), "r"(r8)
               : "rcx", "r11", "memory");
  return -result;
}

bool put_on(const Code& code) {
  const sock_fprog program{static_cast<unsigned short>(code.size()), const_cast<sock_filter*>(code.data())};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

/// Answers marked calls; the others pass, and rt_sigreturn, which finds the mark left in its register.
bool answer_marked() {
  constexpr uint32_t low = static_cast<uint32_t>(kMark), high = kMark >> 32;
  const uint32_t sixth = offsetof(seccomp_data, args) + 5 * sizeof(uint64_t);
  const Code pass = verdict(SECCOMP_RET_ALLOW), answer = verdict(SECCOMP_RET_ERRNO | kLetThrough);
  const Code marked = load(sixth, if_equal(low, load(sixth + 4, if_equal(high, answer, pass)), pass));
  return put_on(load(offsetof(seccomp_data, nr), if_equal(SYS_rt_sigreturn, pass, marked)));
}

void expect(long want, uint64_t nr, uint64_t a0 = 0, uint64_t a1 = 0) {
  const long got = ask(nr, a0, a1);
  char text[120];
  snprintf(text, sizeof text, "call %lu (0x%lx, 0x%lx): %ld instead of %ld", nr, a0, a1, got, want);
  CHECK_SEEN(got == want, text);
}

bool has_arguments_checked(uint64_t nr) {
  for (uint64_t known : {SYS_ioctl, SYS_prctl, SYS_socket, SYS_socketpair, SYS_seccomp})
    if (nr == known) return true;
  return false;
}

/// What the tables say of a number whose arguments do not matter (0, 0).
long from_tables(uint64_t nr) {
  if (nr == SYS_clone3) return ENOSYS;
  if (has_arguments_checked(nr)) return kForbidden;
  bool allowed = nr < kCalls.size() && (kCalls[nr].cls == Class::kForward || (kCalls[nr].cls == Class::kHandle && kCalls[nr].on_host));
  for (const OwnCall& call : own_calls()) allowed |= static_cast<uint64_t>(call.nr) == nr;
  return allowed ? kLetThrough : kForbidden;
}

void every_number() {
  unsigned allowed = 0;
  for (uint64_t nr = 0; nr < 4096; nr++) {
    if (nr == SYS_rt_sigreturn) continue;  // ends each on_forbidden()
    // uretprobe and uprobe: since Linux 6.14 no filter sees them; they work from the kernel's own page only.
    if (nr == 335 || nr == 336) continue;
    expect(from_tables(nr), nr);
    allowed += from_tables(nr) == kLetThrough;
  }
  expect(kForbidden, 0x3fffffff);
  printf("%u numbers are let through whatever their arguments\n", allowed);
}

/// The neighbours of each value and some far ones are asked for too.
void every_value(uint64_t nr, unsigned index, const std::set<uint32_t>& values) {
  std::set<uint32_t> asked{0, 1, 0x7fffffff, 0x80000000, 0xffffffff};
  for (uint32_t value : values) asked.insert({value - 1, value, value + 1});
  for (uint32_t value : asked) {
    if (nr == SYS_prctl && value == static_cast<uint32_t>(kProbeOption)) continue;
    const long want = values.count(value) != 0 ? kLetThrough : kForbidden;
    // The kernel takes 32 bits of these; so must the filter.
    for (uint64_t high : {uint64_t{0}, uint64_t{0xdeadbeef} << 32})
      index == 0 ? expect(want, nr, high | value) : expect(want, nr, 3, high | value);
  }
}

void arguments() {
  std::set<uint32_t> requests, options, families;
  for (const IoctlCommand& command : ioctl_commands()) requests.insert(command.request);
  for (const DeviceRequest& request : device_requests()) requests.insert(request.request);
  for (int option : prctl_options()) options.insert(static_cast<uint32_t>(option));
  for (int family : socket_families()) families.insert(static_cast<uint32_t>(family));
  every_value(SYS_ioctl, 1, requests);
  every_value(SYS_prctl, 0, options);
  every_value(SYS_socket, 0, families);
  every_value(SYS_socketpair, 0, families);
  expect(kProbeAnswer, SYS_prctl, kProbeOption);
  for (uint64_t nr : {SYS_clone, SYS_unshare}) {
    for (unsigned bit = 0; bit < 32; bit++)
      expect(1u << bit == CLONE_NEWUSER ? kForbidden : kLetThrough, nr, 1ull << bit);
  }
  for (uint64_t op = 0; op < 5; op++)
    for (uint64_t flags : {0, 1, 8, 16})
      expect(op == SECCOMP_SET_MODE_FILTER && flags == 0 ? kLetThrough : kForbidden, SYS_seccomp, op, flags);
}

/// What no list may let through, however it is edited.
void never() {
  for (uint64_t nr : {SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_bpf, SYS_userfaultfd, SYS_perf_event_open,
                      SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_init_module, SYS_finit_module,
                      SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load, SYS_reboot, SYS_iopl, SYS_ioperm,
                      SYS_modify_ldt, SYS_pidfd_getfd, SYS_process_madvise, SYS_execve, SYS_uselib, SYS_vfork, SYS_fork})
    expect(kForbidden, nr, 1, 1);
  constexpr uint64_t kType = 0x5412 /* TIOCSTI */, kTun = 0x400454ca /* TUNSETIFF */, kVhost = 0xaf01;
  for (uint64_t request : {kType, kTun, kVhost}) expect(kForbidden, SYS_ioctl, 0, request);
}

/// Exit status of a child with km's filter that runs `act`; negative: the signal.
template <typename Act>
int in_child(const Verdicts& verdicts, Act act) {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    if (!put_on(build_filter(verdicts))) _exit(91);
    act();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void int80() {
  long result = 20;  // getpid of the 32-bit interface
  asm volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
}

void endings() {
  constexpr Verdicts on{SECCOMP_RET_TRAP, SECCOMP_RET_KILL_PROCESS}, gentle{SECCOMP_RET_TRAP, SECCOMP_RET_TRAP};
  CHECK(in_child(on, [] { syscall(SYS_getpid); }) == 0);
  CHECK(in_child(on, [] { syscall(SYS_ptrace, 0, 0, 0, 0); }) == -SIGSYS);
  CHECK(in_child(on, int80) == -SIGSYS);
  CHECK(in_child(on, [] { syscall(0x40000000 | SYS_getpid); }) == -SIGSYS);
  // A process that was taken over may catch what traps, but not what kills; either way nothing happens.
  auto catching = [](auto call) {
    return [call] {
      struct sigaction action {};
      action.sa_sigaction = on_forbidden;
      action.sa_flags = SA_SIGINFO;
      syscall(SYS_rt_sigaction, SIGSYS, nullptr, nullptr, 8);
      sigaction(SIGSYS, &action, nullptr);
      call();
      _exit(stopped != 0 ? 50 : 51);
    };
  };
  CHECK(in_child(on, catching([] { syscall(SYS_ptrace, 0, 0, 0, 0); })) == 50);
  CHECK(in_child(on, catching(int80)) == -SIGSYS);
  CHECK(in_child(gentle, catching(int80)) == 50);
}

/// What the user reads when the monitor does what it must not.
void last_words() {
  int ends[2];
  CHECK(pipe(ends) == 0);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    std::string why;
    if (!apply(Limits{}, false, -1, &why) || filter_length() == 0) _exit(92);
    syscall(SYS_ptrace, 0, 0, 0, 0);
    _exit(93);
  }
  close(ends[1]);
  char text[512] = "";
  const ssize_t length = read(ends[0], text, sizeof text - 1);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(length > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
  CHECK_SEEN(strstr(text, "km: the monitor asked the host for system call 101 (ptrace), which") == text, text);
  CHECK_SEEN(strchr(text, '\n') == text + length - 1, text);
}

const char* text_of(When when) {
  switch (when) {
    case When::kAlways: return "kAlways";
    case When::kKkm: return "kKkm";
    case When::kSignal: return "kSignal";
    case When::kBirth: return "kBirth";
  }
  return "";
}

/// One line for each rule: what is looked at, the value, when the monitor needs it, the name where the table has one.
void list() {
  auto show = [](const char* what, uint32_t value, When when, const char* name) {
    printf("%s %u %s %s\n", what, value, text_of(when), name);
  };
  for (size_t nr = 0; nr < kCalls.size(); nr++)
    if (kCalls[nr].on_host) show("number", static_cast<uint32_t>(nr), When::kAlways, kCalls[nr].name);
  for (const OwnCall& call : own_calls()) show("number", static_cast<uint32_t>(call.nr), call.when, call.name);
  for (const IoctlCommand& command : ioctl_commands()) show("ioctl", command.request, When::kAlways, command.name);
  for (const DeviceRequest& request : device_requests()) show("ioctl", request.request, request.when, request.name);
  for (int option : prctl_options()) show("prctl", static_cast<uint32_t>(option), When::kAlways, "-");
  for (const char* call : {"socket", "socketpair"})
    for (int family : socket_families()) show(call, static_cast<uint32_t>(family), When::kAlways, "-");
}

}  // namespace

int main(int argc, char**) {
  if (argc > 1) {
    list();
    return 0;
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 1;
  endings();
  last_words();
  struct sigaction action {};
  action.sa_sigaction = on_forbidden;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSYS, &action, nullptr);
  const Code code = build_filter({SECCOMP_RET_TRAP, SECCOMP_RET_KILL_PROCESS});
  printf("%zu instructions\n", code.size());
  CHECK(code.size() < BPF_MAXINSNS);
  CHECK(answer_marked() && ask(SYS_reboot) == kLetThrough);
  CHECK(put_on(code));
  every_number();
  arguments();
  never();
  return check::finish("confine_filter");
}
