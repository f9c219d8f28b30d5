// SPDX-License-Identifier: Apache-2.0
/*
 * What an exit and a fault cost, as ratios to the same kernel's own system call
 * and page fault: bench [rounds]. Under emulation the figures only rank.
 */
#define _GNU_SOURCE
#include "machine.h"

#include <sys/syscall.h>

#define PAGES 2048

GUEST(g_syscalls, "1: syscall; jmp 1b");
GUEST(g_outs, "mov $0x8000, %edx; 1: out %eax, %dx; jmp 1b");
GUEST(g_touch, "1: mov %rdi, (%rdi); add $4096, %rdi; dec %ecx; jnz 1b; syscall");

static struct machine machine;
static struct vcpu cpu;

static void set_pinning(const char *value) {
  int fd = open("/sys/module/kkm/parameters/pin", O_WRONLY);

  CHECK(fd >= 0 && write(fd, value, 1) == 1, "pin=%s", value);
  close(fd);
}

static double exits(const char *code, const char *end, int rounds, uint32_t reason) {
  double t;

  CHECK(vcpu_exec(&cpu, code, end) == 0, "first exit");
  t = now_ns();
  for (int i = 0; i < rounds; i++)
    CHECK(ioctl(cpu.fd, KVM_RUN, 0) == 0 && cpu.run->exit_reason == reason, "exit %d", i);
  return (now_ns() - t) / rounds;
}

static double native_calls(int rounds) {
  double t = now_ns();

  for (int i = 0; i < rounds; i++)
    syscall(SYS_getppid);
  return (now_ns() - t) / rounds;
}

static double native_faults(void) {
  char *at = mmap(NULL, PAGES * PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  double t = now_ns();

  madvise(at, PAGES * PAGE, MADV_NOHUGEPAGE);
  for (int i = 0; i < PAGES; i++)
    at[i * PAGE] = 1;
  t = (now_ns() - t) / PAGES;
  munmap(at, PAGES * PAGE);
  return t;
}

/* Guest touches of pages the monitor has already, or has not. */
static double guest_faults(bool present) {
  char *at = machine.mem + 0x400000;
  double t;

  madvise(at, PAGES * PAGE, MADV_NOHUGEPAGE);
  madvise(at, PAGES * PAGE, MADV_DONTNEED);
  for (int i = 0; present && i < PAGES; i++)
    at[i * PAGE] = 1;
  vcpu_code(&cpu, GUEST_BASE, g_touch, g_touch_end);
  vcpu_start(&cpu, GUEST_BASE);
  cpu.regs.rdi = GUEST_BASE + 0x400000;
  cpu.regs.rcx = PAGES;
  vcpu_set(&cpu);
  t = now_ns();
  CHECK(vcpu_run(&cpu) == 0 && cpu.run->exit_reason == KKM_EXIT_SYSCALL, "touched");
  return (now_ns() - t) / PAGES;
}

static void line(const char *what, double ns, double unit) { printf("%-44s %9.0f ns  x %.1f\n", what, ns, unit); }

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 3000;
  double call, fault, t;

  setvbuf(stdout, NULL, _IONBF, 0);
  machine_make(&machine);
  vcpu_make(&cpu, &machine, 0);
  call = native_calls(rounds);
  line("native getppid", call, 1);
  t = exits(g_syscalls, g_syscalls_end, rounds, KKM_EXIT_SYSCALL);
  line("guest syscall, pinned", t, t / call);
  t = exits(g_outs, g_outs_end, rounds, KVM_EXIT_IO);
  line("guest out, pinned", t, t / call);
  set_pinning("N");
  t = exits(g_syscalls, g_syscalls_end, rounds / 4, KKM_EXIT_SYSCALL);
  line("guest syscall, not pinned", t, t / call);
  set_pinning("Y");
  fault = native_faults();
  line("native first touch of a page", fault, 1);
  t = guest_faults(false);
  line("guest first touch, monitor has not the page", t, t / fault);
  t = guest_faults(true);
  line("guest first touch, monitor has the page", t, t / fault);
  vcpu_end(&cpu);
  machine_end(&machine);
  return report();
}
