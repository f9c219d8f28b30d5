// SPDX-License-Identifier: Apache-2.0
/* Every ioctl with every kind of wrong argument: one errno each, by table. */
#define _GNU_SOURCE
#include "machine.h"

#include <sys/resource.h>

enum target { DEV, VM, VCPU };

struct row {
  enum target on;
  unsigned long cmd;
  unsigned long arg;
  int error;  /* 0: succeeds */
  const char *what;
};

#define BAD_POINTER 0xffff888000000000ul
#define CPUID_CMD 0xc008ae05ul
#define SET_CPUID2 0x4008ae90ul
#define GET_MSRS 0xc008ae88ul
#define SET_MSRS 0x4008ae89ul
#define MSR_LIST 0xc004ae02ul

static struct kvm_userspace_memory_region slot[] = {
    {.slot = 128, .memory_size = PAGE},
    {.slot = 1, .flags = 1, .memory_size = PAGE, .guest_phys_addr = 0x80000000},
    {.slot = 1, .guest_phys_addr = 1, .memory_size = PAGE},
    {.slot = 1, .guest_phys_addr = 0x80000000, .memory_size = 100},
    {.slot = 1, .guest_phys_addr = 0x80000000, .memory_size = PAGE, .userspace_addr = 8},
    {.slot = 1, .guest_phys_addr = 0x80000000, .memory_size = PAGE, .userspace_addr = BAD_POINTER},
    {.slot = 1, .guest_phys_addr = ~0xffful, .memory_size = 2 * PAGE},
    {.slot = 1, .guest_phys_addr = 0, .memory_size = ~0xffful},
    {.slot = 9},
    {.slot = 1, .guest_phys_addr = GUEST_BASE, .memory_size = PAGE},
};

static struct kkm_window window[] = {
    {.gva = 0, .size = PAGE, .prot = 1},
    {.gva = GUEST_BASE, .size = PAGE, .prot = 0x10},
    {.gva = GUEST_BASE, .size = PAGE, .prot = 1, .reserved = 1},
    {.gva = GUEST_BASE + 1, .size = PAGE, .prot = 1},
    {.gva = 0xffff800000000000, .size = PAGE, .prot = 1},
    {.gva = GUEST_BASE, .size = ~0xffful, .prot = 1},
    {.gva = 0x40000000, .size = 0},
};

static struct kvm_guest_debug debug = {.control = 0x40};
static uint32_t many_msrs[2] = {100000};
static uint32_t many_cpuid[2] = {100000};

#define P(x) ((unsigned long)&(x))

static const struct row rows[] = {
    {DEV, KVM_GET_API_VERSION, 1, EINVAL, "version with an argument"},
    {DEV, KVM_GET_VCPU_MMAP_SIZE, 1, EINVAL, "mmap size with an argument"},
    {DEV, KVM_CREATE_VM, 1, EINVAL, "unknown machine type"},
    {DEV, KVM_CHECK_EXTENSION, 0x7fffffff, 0, "unknown extension is 0"},
    {DEV, KVM_RUN, 0, ENOTTY, "vCPU call on the device"},
    {DEV, KVM_CREATE_VCPU, 0, ENOTTY, "machine call on the device"},
    {DEV, 0, 0, ENOTTY, "nonsense on the device"},
    {DEV, CPUID_CMD, BAD_POINTER, EFAULT, "CPUID to a kernel address"},
    {DEV, CPUID_CMD, 0, EFAULT, "CPUID to null"},
    {DEV, MSR_LIST, 0, EFAULT, "MSR list to null"},
    {VM, KVM_CREATE_VCPU, 288, EINVAL, "vCPU past the limit"},
    {VM, KVM_CREATE_VCPU, ~0ul, EINVAL, "vCPU far past the limit"},
    {VM, KVM_CREATE_VCPU, 0, EEXIST, "vCPU twice"},
    {VM, KVM_SET_USER_MEMORY_REGION, 0, EFAULT, "slot from null"},
    {VM, KVM_SET_USER_MEMORY_REGION, P(slot[0]), EINVAL, "slot number"},
    {VM, KVM_SET_USER_MEMORY_REGION, P(slot[1]), EINVAL, "slot flag (dirty log)"},
    {VM, KVM_SET_USER_MEMORY_REGION, P(slot[2]), EINVAL, "guest address unaligned"},
    {VM, KVM_SET_USER_MEMORY_REGION, P(slot[3]), EINVAL, "size unaligned"},
    {VM, KVM_SET_USER_MEMORY_REGION, P(slot[4]), EINVAL, "monitor address unaligned"},
    {VM, KVM_SET_USER_MEMORY_REGION, P(slot[5]), EINVAL, "kernel address"},
    {VM, KVM_SET_USER_MEMORY_REGION, P(slot[6]), EINVAL, "guest address wraps"},
    {VM, KVM_SET_USER_MEMORY_REGION, P(slot[7]), EINVAL, "size without end"},
    {VM, KVM_SET_USER_MEMORY_REGION, P(slot[8]), EINVAL, "removal of no slot"},
    {VM, KVM_SET_USER_MEMORY_REGION, P(slot[9]), EEXIST, "overlap"},
    {VM, KKM_MAP_WINDOW, 0, EFAULT, "window from null"},
    {VM, KKM_MAP_WINDOW, P(window[0]), EINVAL, "window at 0"},
    {VM, KKM_MAP_WINDOW, P(window[1]), EINVAL, "window with unknown rights"},
    {VM, KKM_MAP_WINDOW, P(window[2]), EINVAL, "window with reserved bits"},
    {VM, KKM_MAP_WINDOW, P(window[3]), EINVAL, "window unaligned"},
    {VM, KKM_MAP_WINDOW, P(window[4]), EINVAL, "window in the kernel"},
    {VM, KKM_MAP_WINDOW, P(window[5]), EINVAL, "window without end"},
    {VM, KKM_MAP_WINDOW, P(window[6]), ENOENT, "removal of no window"},
    {VM, KVM_SET_IDENTITY_MAP_ADDR, 0, EFAULT, "identity map from null"},
    {VM, KVM_SET_TSS_ADDR, 0, 0, "TSS address is accepted"},
    {VM, KKM_SPACE_WAIT, 0, ENOTTY, "stub call on the machine"},
    {VM, KVM_CREATE_IRQCHIP, 0, ENOTTY, "irqchip"},
    {VM, KVM_GET_API_VERSION, 0, ENOTTY, "device call on the machine"},
    {VCPU, KVM_RUN, 1, EINVAL, "run with an argument"},
    {VCPU, KVM_GET_REGS, 0, EFAULT, "registers to null"},
    {VCPU, KVM_SET_REGS, BAD_POINTER, EFAULT, "registers from a kernel address"},
    {VCPU, KVM_GET_SREGS, 0, EFAULT, "sregs to null"},
    {VCPU, KVM_SET_SREGS, 0, EFAULT, "sregs from null"},
    {VCPU, KVM_GET_FPU, 0, EFAULT, "fpu to null"},
    {VCPU, KVM_SET_FPU, 0, EFAULT, "fpu from null"},
    {VCPU, KVM_GET_XSAVE, BAD_POINTER, EFAULT, "xsave to a kernel address"},
    {VCPU, KVM_SET_XSAVE, 0, EFAULT, "xsave from null"},
    {VCPU, KVM_GET_XCRS, 0, EFAULT, "xcrs to null"},
    {VCPU, KVM_SET_XCRS, 0, EFAULT, "xcrs from null"},
    {VCPU, GET_MSRS, 0, EFAULT, "MSRs from null"},
    {VCPU, SET_MSRS, P(many_msrs), E2BIG, "too many MSRs"},
    {VCPU, GET_MSRS, P(many_msrs), E2BIG, "too many MSRs to get"},
    {VCPU, SET_CPUID2, P(many_cpuid), E2BIG, "too much CPUID"},
    {VCPU, SET_CPUID2, 0, EFAULT, "CPUID from null"},
    {VCPU, KVM_SET_GUEST_DEBUG, 0, EFAULT, "debug from null"},
    {VCPU, KVM_SET_GUEST_DEBUG, P(debug), EINVAL, "debug with unknown control"},
    {VCPU, KVM_SET_SIGNAL_MASK, BAD_POINTER, EFAULT, "mask from a kernel address"},
    {VCPU, KVM_GET_MP_STATE, 0, EFAULT, "mp state to null"},
    {VCPU, KVM_SET_MP_STATE, 0, EFAULT, "mp state from null"},
    {VCPU, KVM_GET_VCPU_EVENTS, 0, EFAULT, "events to null"},
    {VCPU, KVM_SET_VCPU_EVENTS, 0, EFAULT, "events from null"},
    {VCPU, KVM_INTERRUPT, 0, ENOTTY, "interrupt"},
    {VCPU, KVM_CREATE_VM, 0, ENOTTY, "device call on a vCPU"},
    {VCPU, KKM_SPACE_ATTACH, 0, ENOTTY, "stub call on a vCPU"},
};

/* A vCPU that got no descriptor has not taken its number. */
static void test_no_descriptor_left(int vm) {
  struct rlimit before, limit;
  int fd = dup(vm);

  close(fd);
  getrlimit(RLIMIT_NOFILE, &before);
  limit = before;
  limit.rlim_cur = fd;
  setrlimit(RLIMIT_NOFILE, &limit);
  CHECK(ioctl(vm, KVM_CREATE_VCPU, 7) < 0 && errno == EMFILE, "vCPU without a descriptor: %s", strerror(errno));
  setrlimit(RLIMIT_NOFILE, &before);
  fd = ioctl(vm, KVM_CREATE_VCPU, 7);
  CHECK(fd >= 0, "the same number with one: %s", strerror(errno));
  close(fd);
}

int main(void) {
  struct machine m;
  struct vcpu v;
  int fds[3];
  void *p;

  setvbuf(stdout, NULL, _IONBF, 0);
  machine_make(&m);
  vcpu_make(&v, &m, 0);
  fds[DEV] = m.dev;
  fds[VM] = m.vm;
  fds[VCPU] = v.fd;
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    const struct row *r = &rows[i];
    int rc = ioctl(fds[r->on], r->cmd, r->arg), error = rc < 0 ? errno : 0;

    CHECK(error == r->error, "%s: %s, want %s", r->what, strerror(error), strerror(r->error));
  }
  test_no_descriptor_left(m.vm);
  p = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, v.fd, 0);
  CHECK(p != MAP_FAILED, "a longer mapping of kvm_run is made");
  munmap(p, 4 * PAGE);
  p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, v.fd, 0);
  CHECK(p == MAP_FAILED && errno == EINVAL, "a private one is not");
  CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, m.vm, 0) == MAP_FAILED, "the machine has no pages");
  CHECK(read(v.fd, &m, 1) < 0 && write(m.vm, &v, 1) < 0, "nothing to read or write");
  vcpu_end(&v);
  machine_end(&m);
  return report();
}
