// SPDX-License-Identifier: Apache-2.0
#include "native/machine/start.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "native/base/log.h"
#include "native/base/private_fd.h"
#include "native/driver/port_instruction.h"
#include "native/km/options.h"
#include "native/loader/loader.h"
#include "native/machine/signals.h"
#include "native/manage/manage.h"
#include "native/manage/report.h"
#include "native/syscalls/observe.h"

namespace km {
namespace {

std::string device_advice(const char* path, int error, std::string_view step) {
  const std::string name = path;
  // Only opening the node says something about the node; ENOTTY and the like come from what is no such device.
  if (error == ENODEV && step == "KVM_GET_API_VERSION") {
    return name + " is not a virtualization device; name /dev/kvm or /dev/kkm";
  }
  switch (error) {
    case EACCES:
    case EPERM:
      return "no permission for " + name + "; add yourself to the group that owns it (ls -l " + name + ")";
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return name + " is not there; enable virtualization or install KKM";
    case EBUSY:
      return name + " is busy: another hypervisor holds the CPU's virtualization; stop it";
    case EMFILE:
      return "too few descriptors for the monitor; raise the limit (ulimit -n)";
    case ENOMEM:
      return "not enough memory for a machine on " + name + "; raise the limit on address space (ulimit -v) or free some";
    default:
      return name + ": " + strerror(error);
  }
}

/// One device: opened (or taken over when `fd` is given) and a machine made on it, or the reason in `why`.
bool try_device(Process& p, const char* path, std::string* why, int fd = -1) {
  int error = 0;
  const char* what = "";
  p.driver = fd >= 0 ? adopt_driver(fd, path, &error, &what) : open_driver(path, &error, &what);
  if (p.driver != nullptr) p.machine = p.driver->create_machine(p.machine_options, &error, &what);
  if (p.machine != nullptr) return true;
  p.driver.reset();
  *why = device_advice(path, error, what) + " (" + what + ": " + strerrorname_np(error) + ")";
  return false;
}

bool open_device(Process& p, const Options& options, std::string* why) {
  const Handed& handed = options.handed;
  if (handed.device >= 0) return try_device(p, handed.device_path.c_str(), why, handed.device);
  const std::string& wanted = options.device;
  if (!wanted.empty()) return try_device(p, wanted.c_str(), why);
  std::string first;
  for (const char* path : kDeviceSearchOrder) {
    if (access(path, F_OK) != 0) continue;
    if (try_device(p, path, why)) return true;
    if (first.empty()) first = *why;
  }
  *why = !first.empty() ? first
                        : "no virtualization device: none of /dev/kontain, /dev/kvm, /dev/kkm is there; enable "
                          "virtualization or install KKM";
  return false;
}

uint64_t stack_bytes() {
  constexpr uint64_t kDefault = 8 << 20, kMost = 64 << 20;
  rlimit limit{};
  if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kDefault;
  uint64_t bytes = (limit.rlim_cur + 4095) & ~4095ull;
  return bytes < kMost ? bytes : kMost;
}

bool load(Process& p, const Options& options, const Program& program, uint64_t* rsp, uint64_t* rip, LoadError* error) {
  uint64_t size = stack_bytes();
  int64_t top = p.memory->map_stack(size);
  if (top < 0) {
    *error = {ENOMEM, program.path + ": no memory for a stack of " + std::to_string(size) + " bytes"};
    return false;
  }
  Image image;
  if (!load_image(program, *p.memory, &image, error)) return false;
  if (image.executable_stack) {
    p.memory->mprotect(static_cast<uint64_t>(top) - size, size, PROT_READ | PROT_WRITE | PROT_EXEC);
  }
  if (int rc = map_vdso(p); rc != 0) {
    *error = {-rc, program.path + ": cannot show the vdso to the payload: " + strerror(-rc)};
    return false;
  }
  StackInput input{&program.argv, &options.envp, program.execfn, &image, p.vdso_base, static_cast<uint64_t>(top), size};
  *rip = image.entry;
  return build_stack(input, rsp, &p.auxv, error);
}

/// Gives up what is not needed any more, before the first byte of the program is looked into.
bool confine_monitor(const Options& options, std::string* why) {
  Process& p = process();
  // The registry of running monitors is not among the files of a confined one.
  if (!options.limits.files.empty()) manage_announce();
  return confine::apply(options.limits, strcmp(p.machine->kind(), "kkm") == 0, p.self_fd, why);
}

void apply_name(const std::string& path) {
  prctl(PR_SET_NAME, path.substr(path.rfind('/') + 1).c_str());
}

}  // namespace

int start_payload(const Options& options, std::string* why) {
  Process& p = process();
  Program program;
  LoadError error;
  p.options = &options;
  p.machine_options.phys_bits = options.membus_width;
  p.machine_options.kontain_vendor_id = options.kontain_vendor_id;
  // As a shell would find it; what a payload's execve names is a path already.
  std::string file = options.from_exec ? options.program : find_command(options.program, getenv("PATH"));
  if (!resolve_program(file, options.argv, &program, &error)) {
    *why = error.message;
    return kExitBadProgram;
  }
  p.exe_path = program.path;
  p.argv = program.argv;
  if (!open_device(p, options, why)) return kExitUsage;
  p.memory = std::make_unique<AddressSpace>(*p.machine);
  int self = options.handed.self >= 0 ? options.handed.self : open("/proc/self/exe", O_PATH | O_CLOEXEC);
  if (self >= 0) p.self_fd = make_private_fd(self);

  GuestThread& main_thread = *new GuestThread;  // lives as long as the process
  main_thread.process = &p;
  main_thread.tid = getpid();
  set_current_thread(&main_thread);
  init_signals(main_thread);
  set_code_reader(copy_from_guest);  // whose faults are survived from here on
  if (!confine_monitor(options, why)) return kExitUsage;
  uint64_t rsp = 0, rip = 0;
  if (!load(p, options, program, &rsp, &rip, &error)) {
    *why = error.message;
    return kExitBadProgram;
  }
  close(program.fd);
  int vcpu_error = 0;
  main_thread.vcpu = p.machine->create_vcpu(&vcpu_error);
  if (main_thread.vcpu == nullptr) {
    *why = std::string("cannot make a virtual CPU on ") + p.driver->path() + ": " + strerror(vcpu_error);
    return kExitUsage;
  }
  p.threads.insert(&main_thread);
  main_thread.vcpu->regs().rip = rip;
  main_thread.vcpu->regs().rsp = rsp;
  apply_name(program.execfn);  // a script's own name, as Linux has it
  if (options.limits.files.empty()) manage_announce();
  if (!options.from_exec) report_started();
  run_thread(main_thread);
  exit_process(0);
}

void wait_for_the_end() {
  for (;;) host_syscall(SYS_pause);
}

Process& process() {
  static Process* instance = new Process;  // never destroyed: threads run until the kernel ends them
  return *instance;
}

namespace {

/// A process the driver keeps would be inherited by the next subreaper above, with SIGCHLD and a status to wait for
/// (prctl(2), PR_SET_CHILD_SUBREAPER); and that may be another payload.
void end_helper() {
  const pid_t helper = process().machine != nullptr ? process().machine->helper() : -1;
  // A payload that gave its user away may no longer kill it (kill(2), EPERM); the end of the machine's files does.
  if (helper <= 0 || kill(helper, SIGKILL) != 0) return;
  while (waitpid(helper, nullptr, __WALL) < 0 && errno == EINTR) {
  }
}

}  // namespace

void exit_process(int status) {
  if (process().ending.exchange(true)) wait_for_the_end();
  print_syscall_counts();
  manage_withdraw();
  end_helper();
  host_syscall(SYS_exit_group, static_cast<uint64_t>(status));
  __builtin_unreachable();
}

}  // namespace km
