// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "machine.h"

#include <dirent.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <time.h>

static int passed, failed;

void check(bool ok, const char *file, int line, const char *format, ...) {
  va_list args;

  if (ok) {
    __atomic_add_fetch(&passed, 1, __ATOMIC_RELAXED);
    return;
  }
  __atomic_add_fetch(&failed, 1, __ATOMIC_RELAXED);
  printf("FAIL %s:%d: ", file, line);
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  printf("\n");
}

int report(void) {
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}

void die(const char *what) {
  printf("FATAL %s: %s\n", what, strerror(errno));
  printf("%d passed, %d failed\n", passed, failed + 1);
  exit(2);
}

double now_ns(void) {
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

/* In the child: system calls only, nothing of libc that might lock or allocate. */
static void become_companion(int vm) {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (__rseq_size)
    syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32, 1, 0x53053053);
  if (vm > 0)
    syscall(SYS_close_range, 0, vm - 1, 0);
  syscall(SYS_close_range, vm + 1, ~0u, 0);
  for (int i = 0; i < 10000 && ioctl(vm, KKM_SPACE_INIT, vm) < 0 && errno == EAGAIN; i++)
    usleep(100);
  _exit(100 + (errno & 63));
}

pid_t machine_birth(int vm) {
  /* A fork without a death signal, so that wait() of the program never sees it. */
  pid_t pid = syscall(SYS_clone, 0, 0, 0, 0, 0);

  if (pid == 0)
    become_companion(vm);
  return pid;
}

void machine_open(struct machine *m) {
  memset(m, 0, sizeof(*m));
  m->dev = open("/dev/kkm", O_RDWR | O_CLOEXEC);
  if (m->dev < 0)
    die("/dev/kkm");
  do {  /* a signal can interrupt the registration with the memory, as in KVM */
    m->vm = ioctl(m->dev, KVM_CREATE_VM, 0);
  } while (m->vm < 0 && errno == EINTR);
  if (m->vm < 0)
    die("KVM_CREATE_VM");
}

int machine_slot(struct machine *m, unsigned id, uint32_t flags, uint64_t gpa, uint64_t size, void *at) {
  struct kvm_userspace_memory_region r = {
      .slot = id, .flags = flags, .guest_phys_addr = gpa, .memory_size = size,
      .userspace_addr = (uintptr_t)at};

  return ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &r) ? -errno : 0;
}

void machine_make(struct machine *m) {
  machine_open(m);
  m->size = GUEST_SIZE;
  m->mem = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m->mem == MAP_FAILED)
    die("mmap of guest memory");
  if (machine_slot(m, 0, 0, GUEST_BASE, m->size, m->mem))
    die("KVM_SET_USER_MEMORY_REGION");
  m->companion = machine_birth(m->vm);
  if (m->companion < 0)
    die("clone of the companion");
}

void machine_end(struct machine *m) {
  close(m->vm);
  close(m->dev);
  if (m->companion > 0)
    waitpid(m->companion, NULL, __WALL);
  if (m->mem)
    munmap(m->mem, m->size);
}

void vcpu_make(struct vcpu *v, struct machine *m, unsigned id) {
  int size = ioctl(m->dev, KVM_GET_VCPU_MMAP_SIZE, 0);

  memset(v, 0, sizeof(*v));
  v->m = m;
  v->fd = ioctl(m->vm, KVM_CREATE_VCPU, id);
  if (v->fd < 0)
    die("KVM_CREATE_VCPU");
  v->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
  if (v->run == MAP_FAILED)
    die("mmap of kvm_run");
}

void vcpu_end(struct vcpu *v) {
  munmap(v->run, 2 * PAGE);
  close(v->fd);
}

void vcpu_code(struct vcpu *v, uint64_t at, const char *code, const char *end) {
  memcpy(v->m->mem + (at - GUEST_BASE), code, end - code);
}

int vcpu_set(struct vcpu *v) {
  return ioctl(v->fd, KVM_SET_REGS, &v->regs) ? -errno : 0;
}

void vcpu_start(struct vcpu *v, uint64_t rip) {
  memset(&v->regs, 0, sizeof(v->regs));
  v->regs.rip = rip;
  v->regs.rsp = GUEST_BASE + GUEST_SIZE - 64;
  v->regs.rflags = 2;
  if (vcpu_set(v))
    die("KVM_SET_REGS");
}

int vcpu_run(struct vcpu *v) {
  int r = ioctl(v->fd, KVM_RUN, 0) ? -errno : 0;

  if (ioctl(v->fd, KVM_GET_REGS, &v->regs))
    die("KVM_GET_REGS");
  return r;
}

int vcpu_exec(struct vcpu *v, const char *code, const char *end) {
  vcpu_code(v, GUEST_BASE, code, end);
  vcpu_start(v, GUEST_BASE);
  return vcpu_run(v);
}

const struct kkm_syscall *vcpu_syscall(const struct vcpu *v) {
  return (const void *)((const char *)v->run + KKM_RUN_EXIT_OFFSET);
}

const struct kkm_exception *vcpu_exception(const struct vcpu *v) {
  return (const void *)((const char *)v->run + KKM_RUN_EXIT_OFFSET);
}

bool is_syscall(const struct vcpu *v, uint64_t nr) {
  return v->run->exit_reason == KKM_EXIT_SYSCALL && vcpu_syscall(v)->nr == nr;
}

bool is_exception(const struct vcpu *v, uint32_t vector) {
  return v->run->exit_reason == KVM_EXIT_EXCEPTION && vcpu_exception(v)->vector == vector;
}

int others(void) {
  DIR *dir = opendir("/proc");
  struct dirent *e;
  char ours[32];
  int n = 0;

  snprintf(ours, sizeof(ours), "(%.15s)", program_invocation_short_name);

  while ((e = readdir(dir)) != NULL) {
    char path[300], name[64] = "";
    int fd, pid = atoi(e->d_name);

    if (pid <= 1 || pid == getpid())
      continue;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY);
    if (fd < 0)
      continue;
    if (read(fd, name, sizeof(name) - 1) > 0 && strstr(name, ours) && !strstr(name, ") Z"))
      n++;
    close(fd);
  }
  closedir(dir);
  return n;
}

bool all_gone(void) {
  for (int i = 0; i < 600; i++) {
    while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
      ;
    if (others() == 0)
      return true;
    usleep(50000);
  }
  return false;
}
