// SPDX-License-Identifier: Apache-2.0
/* Someone has his hands on the companion: by a shared descriptor table, as its debugger. He is let down, Linux is not. */
#define _GNU_SOURCE
#include "machine.h"

#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/user.h>

#define FROM 0x600000ul  /* guest pages; the second is where a debugger has the first one moved */
#define TO 0x700000ul

GUEST(g_read, "mov (%rdi), %rax; syscall");

static bool read_is(struct vcpu *v, uint64_t gva, uint64_t value) {
  vcpu_code(v, GUEST_BASE, g_read, g_read_end);
  vcpu_start(v, GUEST_BASE);
  v->regs.rdi = gva;
  vcpu_set(v);
  return vcpu_run(v) == 0 && is_syscall(v, value);
}

/* As machine.c's, but it keeps its descriptors, which may be its parent's, and gives the stub a copy to close. */
static void become_companion(int vm, int copy) {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (__rseq_size)
    syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32, 1, 0x53053053);
  for (int i = 0; i < 10000 && ioctl(vm, KKM_SPACE_INIT, copy) < 0 && errno == EAGAIN; i++)
    usleep(100);
  _exit(100 + (errno & 63));
}

static void machine_with_memory(struct machine *m) {
  machine_open(m);
  m->size = GUEST_SIZE;
  m->mem = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m->mem == MAP_FAILED || machine_slot(m, 0, 0, GUEST_BASE, m->size, m->mem))
    die("memory");
}

/* Where the companion has the stub: its only executable and unwritable mapping. */
static unsigned long stub_of(pid_t companion) {
  unsigned long from, found = 0;
  char path[64], line[512], rights[8];
  FILE *maps;

  snprintf(path, sizeof(path), "/proc/%d/maps", companion);
  maps = fopen(path, "r");
  while (maps && fgets(line, sizeof(line), maps))
    if (sscanf(line, "%lx-%*x %7s", &from, rights) == 2 && !strcmp(rights, "r-xs"))
      found = from;
  if (maps)
    fclose(maps);
  return found;
}

static int space_descriptor(void) {
  for (int fd = 3; fd < 64; fd++) {
    char path[64], target[128] = "";

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, "kkm-space"))
      return fd;
  }
  return -1;
}

/* The monitor shares its descriptors with the companion, so that it holds the space file too. */
static void test_shared_descriptors(void) {
  struct machine m;
  struct vcpu v;
  unsigned long stub;
  int copy, fd;
  char *p;

  machine_with_memory(&m);
  copy = dup(m.vm);
  m.companion = syscall(SYS_clone, CLONE_FILES, 0, 0, 0, 0);
  if (m.companion == 0)
    become_companion(m.vm, copy);
  vcpu_make(&v, &m, 0);
  *(uint64_t *)(m.mem + FROM - GUEST_BASE) = 5;
  CHECK(read_is(&v, FROM, 5), "the guest runs");
  fd = space_descriptor();
  stub = stub_of(m.companion);
  CHECK(fd >= 0 && stub, "the space file is in reach: descriptor %d, stub at %lx", fd, stub);
  p = mmap((void *)stub, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, stub);
  CHECK(p == MAP_FAILED && errno == EPERM, "the stub is not to be written: %p, %s", p, strerror(errno));
  p = mmap((void *)stub, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, stub);
  CHECK(p == MAP_FAILED && errno == EPERM, "nor to be mapped: %p, %s", p, strerror(errno));
  CHECK(ioctl(fd, KKM_SPACE_WAIT, 0) < 0 && errno == EPERM, "a stub call by the monitor: %s", strerror(errno));
  CHECK(ioctl(fd, KKM_SPACE_ATTACH, 0) < 0 && errno == EPERM, "and the other: %s", strerror(errno));
  close(fd);
  CHECK(read_is(&v, FROM, 5), "the guest runs on");
  vcpu_end(&v);
  machine_end(&m);
}

/* Lets the child go on to the next stop at a system call. */
static void next_stop(pid_t child, struct user_regs_struct *regs) {
  int status;

  if (ptrace(PTRACE_SYSCALL, child, 0, 0) || waitpid(child, &status, __WALL) != child || !WIFSTOPPED(status) ||
      ptrace(PTRACE_GETREGS, child, 0, regs))
    die("debugging the companion");
}

/* In place of the stub's first call, close, the companion moves a page of the guest area. What mremap() answered. */
static long move_a_page(pid_t child) {
  struct user_regs_struct regs;
  int status;

  if (waitpid(child, &status, __WALL) != child || !WIFSTOPPED(status))
    die("start of the debugged companion");
  do
    next_stop(child, &regs);
  while (regs.orig_rax != SYS_ioctl || regs.rax != 0);  /* the way out of KKM_SPACE_INIT, past any EAGAIN */
  do
    next_stop(child, &regs);
  while (regs.orig_rax != SYS_close);
  regs.orig_rax = SYS_mremap;
  regs.rdi = FROM;
  regs.rsi = regs.rdx = PAGE;
  regs.r10 = MREMAP_MAYMOVE | MREMAP_FIXED;
  regs.r8 = TO;
  if (ptrace(PTRACE_SETREGS, child, 0, &regs))
    die("PTRACE_SETREGS");
  next_stop(child, &regs);
  if (ptrace(PTRACE_DETACH, child, 0, 0))
    die("PTRACE_DETACH");
  return (long)regs.rax;
}

/* An entry at an address that is not its offset in the file would not be found when the monitor's page goes. */
static void test_moved(void) {
  struct machine m;
  struct vcpu v;
  long moved;

  machine_with_memory(&m);
  m.companion = syscall(SYS_clone, 0, 0, 0, 0, 0);
  if (m.companion == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    become_companion(m.vm, m.vm);
  }
  moved = move_a_page(m.companion);
  CHECK(moved == (long)TO, "the debugger has a page moved: %ld", moved);
  vcpu_make(&v, &m, 0);
  *(uint64_t *)(m.mem + TO - GUEST_BASE) = 7;
  *(uint64_t *)(m.mem + FROM + PAGE - GUEST_BASE) = 8;
  CHECK(read_is(&v, FROM + PAGE, 8), "beside it all is well");
  CHECK(!read_is(&v, TO, 7) && is_exception(&v, 14) && vcpu_exception(&v)->flags == KKM_FAULT_NO_PAGE,
        "a moved page shows nothing: reason %x flags %x", v.run->exit_reason, vcpu_exception(&v)->flags);
  kill(m.companion, SIGKILL);  /* it has not closed the machine */
  vcpu_end(&v);
  machine_end(&m);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  test_shared_descriptors();
  test_moved();
  CHECK(all_gone(), "all gone");
  return report();
}
