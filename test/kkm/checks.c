// SPDX-License-Identifier: Apache-2.0
/* One vCPU: every exit, every door, every piece of state. */
#define _GNU_SOURCE
#include "machine.h"

#include <cpuid.h>
#include <stddef.h>
#include <sys/time.h>

GUEST(g_syscall, "mov $39, %eax; mov $7, %edi; mov $8, %esi; syscall; syscall");
GUEST(g_out32, "mov $0x8034, %edx; mov $0x12345678, %eax; out %eax, %dx; hlt");
GUEST(g_out16, "mov $0x8034, %edx; mov $0x12345678, %eax; out %ax, %dx; hlt");
GUEST(g_out8, "mov $0x8034, %edx; mov $0x12345678, %eax; out %al, %dx; hlt");
GUEST(g_in32, "mov $0x8035, %edx; mov $-1, %rax; in %dx, %eax; syscall");
GUEST(g_in8, "mov $0x8035, %edx; mov $-1, %rax; in %dx, %al; syscall");
GUEST(g_out_other, "mov $0x3f8, %edx; out %al, %dx");
GUEST(g_out_edge, "mov $0x81ff, %edx; out %eax, %dx");
GUEST(g_outs, "mov $0x8000, %edx; mov $0x300000, %esi; outsb");
GUEST(g_spin, "1: inc %rax; jmp 1b");
GUEST(g_loop_syscall, "1: syscall; jmp 1b");

static struct machine machine;
static struct vcpu cpu;

static void test_device(void) {
  CHECK(ioctl(machine.dev, KVM_GET_API_VERSION, 0) == 12, "API version");
  CHECK(ioctl(machine.dev, KKM_GET_IDENTITY, 0) == KKM_IDENTITY, "identity");
  CHECK(ioctl(machine.dev, KVM_GET_VCPU_MMAP_SIZE, 0) == 8192, "vCPU mmap size");
  CHECK(ioctl(machine.dev, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS) == 3, "sync regs");
  CHECK(ioctl(machine.dev, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS) == 288, "max vCPUs");
  CHECK(ioctl(machine.vm, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS) == 128, "slots");
  CHECK(ioctl(machine.dev, KVM_CHECK_EXTENSION, KKM_CAP_ABI) == KKM_ABI_VERSION, "ABI");
  CHECK(ioctl(machine.dev, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) == 0, "no irqchip");
}

static void test_syscall_exit(void) {
  int r = EXEC(&cpu, g_syscall);

  CHECK(r == 0 && is_syscall(&cpu, 39), "syscall: r %d reason %x", r, cpu.run->exit_reason);
  CHECK(vcpu_syscall(&cpu)->args[0] == 7 && vcpu_syscall(&cpu)->args[1] == 8, "arguments");
  CHECK(vcpu_syscall(&cpu)->flags == 0, "flags %llx", vcpu_syscall(&cpu)->flags);
  CHECK(cpu.regs.rip == GUEST_BASE + (g_syscall_end - g_syscall) - 2, "rip %llx", cpu.regs.rip);
  CHECK(cpu.regs.rcx == cpu.regs.rip, "rcx is the return address");
  CHECK(cpu.regs.r11 & 2, "r11 has the flags");
  cpu.regs.rax = 0x1122334455667788;
  vcpu_set(&cpu);
  vcpu_run(&cpu);
  CHECK(is_syscall(&cpu, 0x1122334455667788), "all 64 bits of rax: %llx", vcpu_syscall(&cpu)->nr);
}

static uint32_t datum(void) {
  uint32_t d;

  memcpy(&d, (char *)cpu.run + cpu.run->io.data_offset, 4);
  return d;
}

static void check_io(const char *what, int direction, int size, int port) {
  CHECK(cpu.run->exit_reason == KVM_EXIT_IO && cpu.run->io.direction == direction &&
            cpu.run->io.size == size && cpu.run->io.port == port && cpu.run->io.count == 1,
        "%s: reason %d size %d port %x", what, cpu.run->exit_reason, cpu.run->io.size, cpu.run->io.port);
}

static void test_io(void) {
  EXEC(&cpu, g_out32);
  check_io("out eax", KVM_EXIT_IO_OUT, 4, 0x8034);
  CHECK(datum() == 0x12345678, "datum %x", datum());
  CHECK(cpu.regs.rip == GUEST_BASE + (g_out32_end - g_out32) - 1, "rip behind the out");
  vcpu_run(&cpu);
  CHECK(is_exception(&cpu, 13), "hlt is #GP: %x", cpu.run->exit_reason);
  EXEC(&cpu, g_out16);
  check_io("out ax", KVM_EXIT_IO_OUT, 2, 0x8034);
  EXEC(&cpu, g_out8);
  check_io("out al", KVM_EXIT_IO_OUT, 1, 0x8034);
  EXEC(&cpu, g_in32);
  check_io("in eax", KVM_EXIT_IO_IN, 4, 0x8035);
  *(uint32_t *)((char *)cpu.run + cpu.run->io.data_offset) = 0xcafe0001;
  vcpu_run(&cpu);
  CHECK(is_syscall(&cpu, 0xcafe0001), "in eax clears the upper half: %llx", cpu.regs.rax);
  EXEC(&cpu, g_in8);
  check_io("in al", KVM_EXIT_IO_IN, 1, 0x8035);
  *(uint32_t *)((char *)cpu.run + cpu.run->io.data_offset) = 0x77;
  vcpu_run(&cpu);
  CHECK(is_syscall(&cpu, 0xffffffffffffff77), "in al keeps the rest: %llx", cpu.regs.rax);
  EXEC(&cpu, g_out_other);
  CHECK(is_exception(&cpu, 13), "another port is #GP");
  EXEC(&cpu, g_out_edge);
  CHECK(is_exception(&cpu, 13), "a port past the last is #GP");
  EXEC(&cpu, g_outs);
  CHECK(is_exception(&cpu, 13), "outs is #GP");
}

struct vector_case {
  const char *name, *code, *end;
  uint32_t vector;
  int64_t rip;  /* offset at the exit, or -1 */
};

GUEST(g_de, "xor %ecx, %ecx; div %ecx");
GUEST(g_ud, "ud2");
GUEST(g_bp, "int3");
GUEST(g_cli, "cli");
GUEST(g_wrmsr, "wrmsr");
GUEST(g_cr3, "mov %cr3, %rax");
GUEST(g_setcr3, "mov %rax, %cr3");
GUEST(g_int20, "int $0x20");
GUEST(g_lgdt, "lgdt (%rsp)");
GUEST(g_invlpg, "invlpg (%rsp)");
GUEST(g_swapgs, "swapgs");
GUEST(g_sysret, "sysretq");
GUEST(g_tf, "pushf; orl $0x100, (%rsp); popf; nop; nop");
GUEST(g_noncanon, "mov $0x8000000000000000, %rax; mov (%rax), %rax");

#define VECTOR(name, vector, rip) {#name, name, name##_end, vector, rip}
static const struct vector_case vectors[] = {
    VECTOR(g_de, 0, 2),     VECTOR(g_ud, 6, 0),      VECTOR(g_bp, 3, 1),      VECTOR(g_cli, 13, 0),
    VECTOR(g_wrmsr, 13, 0), VECTOR(g_cr3, 13, 0),    VECTOR(g_setcr3, 13, 0), VECTOR(g_int20, 13, 0),
    VECTOR(g_lgdt, 13, 0),  VECTOR(g_invlpg, 13, 0), VECTOR(g_swapgs, 13, 0), VECTOR(g_sysret, 13, 0),
    VECTOR(g_tf, 1, -1),    VECTOR(g_noncanon, 13, -1),
};

static void test_vectors(void) {
  for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
    const struct vector_case *c = &vectors[i];
    int r = vcpu_exec(&cpu, c->code, c->end);

    CHECK(r == 0 && is_exception(&cpu, c->vector), "%s: r %d reason %x vector %u, want %u", c->name, r,
          cpu.run->exit_reason, vcpu_exception(&cpu)->vector, c->vector);
    CHECK(c->rip < 0 || cpu.regs.rip == GUEST_BASE + c->rip, "%s: rip +%lld", c->name,
          (long long)(cpu.regs.rip - GUEST_BASE));
  }
}

GUEST(g_read_rdi, "mov (%rdi), %rax; syscall");
GUEST(g_write_rdi, "mov %rax, (%rdi); syscall");

static void run_at(const char *code, const char *end, uint64_t rdi) {
  vcpu_code(&cpu, GUEST_BASE, code, end);
  vcpu_start(&cpu, GUEST_BASE);
  cpu.regs.rdi = rdi;
  vcpu_set(&cpu);
  vcpu_run(&cpu);
}

static void check_fault(const char *what, uint64_t addr, uint32_t error) {
  const struct kkm_exception *x = vcpu_exception(&cpu);
  struct kvm_sregs s;

  ioctl(cpu.fd, KVM_GET_SREGS, &s);
  CHECK(is_exception(&cpu, 14) && x->cr2 == addr && (x->error_code & ~1u) == error && s.cr2 == addr,
        "%s: reason %x vector %u cr2 %llx error %x", what, cpu.run->exit_reason, x->vector, x->cr2,
        x->error_code);
}

/* Memory outside the slots, the monitor's and the kernel's above all. */
static void test_outside(void) {
  int local = 0;

  run_at(g_read_rdi, g_read_rdi_end, 0x7f0000000000);
  check_fault("read outside every slot", 0x7f0000000000, 4);
  CHECK(vcpu_exception(&cpu)->flags == KKM_FAULT_NO_SLOT, "no slot");
  run_at(g_write_rdi, g_write_rdi_end, 0x7f0000000000);
  check_fault("write outside every slot", 0x7f0000000000, 6);
  run_at(g_read_rdi, g_read_rdi_end, (uintptr_t)machine.mem);
  check_fault("the monitor's own address", (uintptr_t)machine.mem, 4);
  run_at(g_read_rdi, g_read_rdi_end, (uintptr_t)&local);
  check_fault("the monitor's stack", (uintptr_t)&local, 4);
  run_at(g_read_rdi, g_read_rdi_end, 0x401000);
  CHECK(is_syscall(&cpu, 0) || is_exception(&cpu, 14), "0x401000 is slot memory, not the monitor's");
  run_at(g_read_rdi, g_read_rdi_end, 0xffffffff81000000);
  check_fault("kernel text", 0xffffffff81000000, 4);
  run_at(g_write_rdi, g_write_rdi_end, 0xffff888000000000);
  check_fault("kernel direct map", 0xffff888000000000, 6);
  run_at(g_read_rdi, g_read_rdi_end, 8);
  check_fault("page 0", 8, 4);
  vcpu_start(&cpu, 0x1000);
  vcpu_run(&cpu);
  CHECK(is_exception(&cpu, 14) && cpu.regs.rip == 0x1000, "fetch from low memory");
  vcpu_start(&cpu, 0x8000000000000000);
  vcpu_run(&cpu);
  CHECK(cpu.run->exit_reason == KVM_EXIT_EXCEPTION, "non-canonical rip");
  /* The stub page and the scratch are the companion's; nothing there can be written. */
  run_at(g_write_rdi, g_write_rdi_end, 0x7fffffffe000);
  CHECK(is_exception(&cpu, 14), "stub page is not writable");
}

GUEST(g_int80, "mov $20, %eax; int $0x80; syscall");
GUEST(g_sysenter, "mov $20, %eax; xor %ebp, %ebp; sysenter; ud2");
/* With a stack from which Linux can take the sixth argument, as its own vdso would have it. */
GUEST(g_sysenter_stack, "mov $20, %eax; movq $0, -64(%rsp); lea -64(%rsp), %rbp; sysenter; ud2");
GUEST(g_vsyscall, "mov $0xffffffffff600000, %rax; mov $0x300000, %edi; xor %esi, %esi; call *%rax; ud2");
GUEST(g_minus1, "mov $-1, %rax; syscall");
GUEST(g_x32, "mov $0x40000027, %eax; syscall");
GUEST(g_exit, "mov $231, %eax; xor %edi, %edi; syscall");
GUEST(g_ioctl, "mov $16, %eax; xor %edi, %edi; mov $0xaef2, %esi; syscall");
/* A far jump into 32-bit code, which makes the call from there. (No far return: QEMU 7.2 gets it wrong.) */
GUEST(g_compat,
      "lea 1f(%rip), %rax; mov %eax, -16(%rsp); movl $0x23, -12(%rsp); ljmp *-16(%rsp);"
      "1: .code32; mov $20, %eax; int $0x80; ud2; .code64");

static int is_genuine_intel(void) {
  unsigned int a, b, c, d;

  __cpuid(0, a, b, c, d);
  return b == signature_INTEL_ebx && c == signature_INTEL_ecx && d == signature_INTEL_edx;
}

static void test_doors(void) {
  pid_t before = getpid();

  EXEC(&cpu, g_int80);
  CHECK((is_syscall(&cpu, 20) && (vcpu_syscall(&cpu)->flags & KKM_SYSCALL_32BIT)) || is_exception(&cpu, 13),
        "int 0x80: reason %x rax %llx", cpu.run->exit_reason, cpu.regs.rax);
  EXEC(&cpu, g_sysenter);
  CHECK(cpu.run->exit_reason == KVM_EXIT_EXCEPTION || cpu.run->exit_reason == KKM_EXIT_SYSCALL,
        "sysenter: reason %x", cpu.run->exit_reason);
  CHECK(cpu.regs.rax == 20 || (int)cpu.regs.rax < 0, "sysenter executed nothing: rax %llx", cpu.regs.rax);
  EXEC(&cpu, g_sysenter_stack);
  /* Only Intel's processors take it in 64-bit code; there it must come out as the 32-bit call it is. */
  if (is_genuine_intel())
    CHECK(is_syscall(&cpu, 20) && (vcpu_syscall(&cpu)->flags & KKM_SYSCALL_32BIT), "Intel's sysenter: reason %x rax %llx",
          cpu.run->exit_reason, cpu.regs.rax);
  else
    CHECK(is_exception(&cpu, 6), "sysenter elsewhere: reason %x", cpu.run->exit_reason);
  memset(machine.mem + 0x100000, 0x55, 16);
  EXEC(&cpu, g_vsyscall);
  CHECK((is_syscall(&cpu, 96) && (vcpu_syscall(&cpu)->flags & KKM_SYSCALL_VSYSCALL)) || is_exception(&cpu, 14),
        "vsyscall: reason %x rax %llx", cpu.run->exit_reason, cpu.regs.rax);
  CHECK(machine.mem[0x100000] == 0x55, "vsyscall wrote no time");
  EXEC(&cpu, g_minus1);
  CHECK(is_syscall(&cpu, -1ull), "number -1: reason %x", cpu.run->exit_reason);
  EXEC(&cpu, g_x32);
  CHECK(is_syscall(&cpu, 0x40000027), "x32 number");
  EXEC(&cpu, g_exit);
  CHECK(is_syscall(&cpu, 231), "exit_group exits only to the monitor");
  EXEC(&cpu, g_ioctl);
  CHECK(is_syscall(&cpu, 16), "the stub's own ioctl is no door");
  EXEC(&cpu, g_compat);
  CHECK((is_syscall(&cpu, 20) && (vcpu_syscall(&cpu)->flags & KKM_SYSCALL_32BIT)) ||
            cpu.run->exit_reason == KVM_EXIT_EXCEPTION,
        "32-bit code: reason %x", cpu.run->exit_reason);
  CHECK(getpid() == before && kill(machine.companion, 0) == 0, "everybody lives");
}

GUEST(g_stub_jump, "mov $16, %eax; mov $3, %edi; jmp *%rbx");

/* The guest jumps to every byte of the stub: no system call may get through. */
static void test_stub(void) {
  for (uint64_t off = 0; off < 0x400; off += 1) {
    vcpu_code(&cpu, GUEST_BASE, g_stub_jump, g_stub_jump_end);
    vcpu_start(&cpu, GUEST_BASE);
    cpu.regs.rbx = 0x7fffffffe000 + off;
    vcpu_set(&cpu);
    int r = vcpu_run(&cpu);

    if (r || (cpu.run->exit_reason != KKM_EXIT_SYSCALL && cpu.run->exit_reason != KVM_EXIT_EXCEPTION)) {
      CHECK(false, "stub+%llx: r %d reason %x", (unsigned long long)off, r, cpu.run->exit_reason);
      return;
    }
  }
  CHECK(true, "stub");
}

GUEST(g_fs, "mov %fs:0, %rax; syscall; mov %gs:8, %rax; syscall");
GUEST(g_wrfs, "mov $0x312000, %eax; wrfsbase %rax; mov %fs:0, %rax; syscall");

static void test_bases(void) {
  struct kvm_sregs s;
  struct {
    struct kvm_msrs head;
    struct kvm_msr_entry e[2];
  } msrs = {.head.nmsrs = 2, .e = {{.index = 0xc0000100}, {.index = 0xc0000101}}};

  *(uint64_t *)(machine.mem + 0x110000) = 0x5555aaaa;
  *(uint64_t *)(machine.mem + 0x111008) = 0x6666bbbb;
  *(uint64_t *)(machine.mem + 0x112000) = 0x7777cccc;
  ioctl(cpu.fd, KVM_GET_SREGS, &s);
  s.fs.base = GUEST_BASE + 0x110000;
  s.gs.base = GUEST_BASE + 0x111000;
  CHECK(ioctl(cpu.fd, KVM_SET_SREGS, &s) == 0, "set sregs");
  EXEC(&cpu, g_fs);
  CHECK(is_syscall(&cpu, 0x5555aaaa), "fs base: %llx", cpu.regs.rax);
  vcpu_run(&cpu);
  CHECK(is_syscall(&cpu, 0x6666bbbb), "gs base: %llx", cpu.regs.rax);
  EXEC(&cpu, g_wrfs);
  if (!is_exception(&cpu, 6)) {
    CHECK(is_syscall(&cpu, 0x7777cccc), "guest sets fs base itself: %llx", cpu.regs.rax);
    ioctl(cpu.fd, KVM_GET_SREGS, &s);
    CHECK(s.fs.base == 0x312000, "and the monitor sees it: %llx", s.fs.base);
  }
  CHECK(ioctl(cpu.fd, KVM_GET_MSRS, &msrs) == 2 && msrs.e[1].data == GUEST_BASE + 0x111000, "get MSRs");
  msrs.e[0].data = GUEST_BASE + 0x110000;
  CHECK(ioctl(cpu.fd, KVM_SET_MSRS, &msrs) == 2, "set MSRs");
  EXEC(&cpu, g_fs);
  CHECK(is_syscall(&cpu, 0x5555aaaa), "fs base by MSR");
  s.fs.base = 0xffff800000000000;
  CHECK(ioctl(cpu.fd, KVM_SET_SREGS, &s) < 0 && errno == EINVAL, "kernel fs base refused");
  CHECK((s.cr3 | s.cr8 | s.apic_base) == 0, "no host control registers");
}

static void test_sync_regs(void) {
  vcpu_code(&cpu, GUEST_BASE, g_syscall, g_syscall_end);
  vcpu_start(&cpu, 0);
  cpu.run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  cpu.run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
  cpu.run->s.regs.regs = cpu.regs;
  cpu.run->s.regs.regs.rip = GUEST_BASE;
  cpu.run->s.regs.regs.r15 = 0x1515;
  CHECK(vcpu_run(&cpu) == 0 && is_syscall(&cpu, 39), "dirty registers are taken");
  CHECK(cpu.run->s.regs.regs.r15 == 0x1515 && cpu.run->s.regs.regs.rip == cpu.regs.rip, "and given");
  CHECK(cpu.run->kvm_dirty_regs == 0, "dirty is cleared");
  cpu.run->s.regs.regs.rip = 0x1234;
  CHECK(vcpu_run(&cpu) == 0 && cpu.regs.rip == GUEST_BASE + (g_syscall_end - g_syscall), "clean is ignored");
  cpu.run->kvm_valid_regs = 8;
  CHECK(vcpu_run(&cpu) == -EINVAL, "unknown set refused");
  cpu.run->kvm_valid_regs = 0;
}

static volatile int ticks;

static void on_tick(int sig) {
  (void)sig;
  ticks++;
}

static void arm(long usec) {
  struct itimerval it = {.it_value = {usec / 1000000, usec % 1000000}};

  setitimer(ITIMER_REAL, &it, NULL);
}

static void test_signals(void) {
  struct {
    struct kvm_signal_mask head;
    uint64_t set;
  } mask;
  uint64_t before;
  sigset_t set, old;
  int r;

  signal(SIGALRM, on_tick);
  vcpu_code(&cpu, GUEST_BASE, g_spin, g_spin_end);
  vcpu_start(&cpu, GUEST_BASE);
  arm(200000);
  r = vcpu_run(&cpu);
  CHECK(r == -EINTR && ticks == 1 && cpu.run->exit_reason == KVM_EXIT_INTR && cpu.regs.rax > 1000,
        "signal ends a spin: r %d ticks %d rax %llu", r, ticks, cpu.regs.rax);
  before = cpu.regs.rax;
  arm(50000);
  r = vcpu_run(&cpu);
  CHECK(r == -EINTR && cpu.regs.rax > before && ticks == 2, "and it goes on where it was");

  cpu.run->immediate_exit = 1;
  before = cpu.regs.rax;
  r = vcpu_run(&cpu);
  CHECK(r == -EINTR && cpu.regs.rax == before, "immediate_exit enters nothing");
  cpu.run->immediate_exit = 0;

  /* Blocked outside, open inside KVM_RUN. */
  sigemptyset(&set);
  sigaddset(&set, SIGALRM);
  sigprocmask(SIG_BLOCK, &set, &old);
  mask.head.len = 8;
  memset(&mask.head.sigset, 0, 8);
  CHECK(ioctl(cpu.fd, KVM_SET_SIGNAL_MASK, &mask) == 0, "set signal mask");
  arm(50000);
  r = vcpu_run(&cpu);
  CHECK(r == -EINTR && ticks == 2, "the open signal ends the run, undelivered: r %d ticks %d", r, ticks);
  sigprocmask(SIG_SETMASK, &old, NULL);
  CHECK(ticks == 3, "and comes when it may");
  CHECK(ioctl(cpu.fd, KVM_SET_SIGNAL_MASK, NULL) == 0, "clear signal mask");
  mask.head.len = 4;
  CHECK(ioctl(cpu.fd, KVM_SET_SIGNAL_MASK, &mask) < 0 && errno == EINVAL, "bad mask length");
}

GUEST(g_step, "mov $1, %eax; mov $2, %ebx; mov $3, %ecx; syscall");
GUEST(g_watch, "mov $0x300000, %edi; movq $5, (%rdi); nop; mov (%rdi), %rax; syscall");

static void debug(uint32_t control, uint64_t addr, uint64_t dr7) {
  struct kvm_guest_debug d = {.control = control};

  d.arch.debugreg[0] = addr;
  d.arch.debugreg[7] = dr7;
  CHECK(ioctl(cpu.fd, KVM_SET_GUEST_DEBUG, &d) == 0, "set debug %x: %s", control, strerror(errno));
}

static void test_debug(void) {
  const struct kvm_debug_exit_arch *x = &cpu.run->debug.arch;
  struct kvm_guest_debug bad = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP};

  vcpu_code(&cpu, GUEST_BASE, g_step, g_step_end);
  vcpu_start(&cpu, GUEST_BASE);
  debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP, 0, 0);
  for (int i = 1; i <= 2; i++) {
    vcpu_run(&cpu);
    CHECK(cpu.run->exit_reason == KVM_EXIT_DEBUG && x->exception == 1 && x->pc == GUEST_BASE + 5 * i &&
              (x->dr6 & 0x4000),
          "step %d: reason %x pc %llx dr6 %llx", i, cpu.run->exit_reason, x->pc, x->dr6);
    CHECK(!(cpu.regs.rflags & 0x100), "TF is ours, not the guest's");
  }
  debug(0, 0, 0);
  CHECK(vcpu_run(&cpu) == 0 && cpu.run->exit_reason == KKM_EXIT_SYSCALL && cpu.regs.rcx != 3, "runs free again");

  debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP, 0, 0);
  EXEC(&cpu, g_bp);
  CHECK(cpu.run->exit_reason == KVM_EXIT_DEBUG && x->exception == 3 && x->pc == GUEST_BASE, "int3 to the debugger");

  vcpu_code(&cpu, GUEST_BASE, g_step, g_step_end);
  vcpu_start(&cpu, GUEST_BASE);
  debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP, GUEST_BASE + 10, 1);
  vcpu_run(&cpu);
  CHECK(cpu.run->exit_reason == KVM_EXIT_DEBUG && x->pc == GUEST_BASE + 10 && (x->dr6 & 1),
        "breakpoint: reason %x pc %llx dr6 %llx", cpu.run->exit_reason, x->pc, x->dr6);
  vcpu_run(&cpu);
  CHECK(cpu.run->exit_reason == KKM_EXIT_SYSCALL, "goes on over it: %x", cpu.run->exit_reason);

  vcpu_code(&cpu, GUEST_BASE, g_watch, g_watch_end);
  vcpu_start(&cpu, GUEST_BASE);
  debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP, 0x300000, 1 | (1 << 16) | (3 << 18));
  vcpu_run(&cpu);
  CHECK(cpu.run->exit_reason == KVM_EXIT_DEBUG && (x->dr6 & 1) && cpu.regs.rip == GUEST_BASE + 12,
        "watchpoint: reason %x rip +%llx", cpu.run->exit_reason, cpu.regs.rip - GUEST_BASE);
  debug(0, 0, 0);

  bad.arch.debugreg[0] = 0xffffffff81000000;
  bad.arch.debugreg[7] = 1;
  CHECK(ioctl(cpu.fd, KVM_SET_GUEST_DEBUG, &bad) < 0, "breakpoint in the kernel refused");
  bad.arch.debugreg[7] = 1 | (2 << 16);
  CHECK(ioctl(cpu.fd, KVM_SET_GUEST_DEBUG, &bad) < 0 && errno == EINVAL, "I/O breakpoint refused");
  bad.control = 0x80000000;
  CHECK(ioctl(cpu.fd, KVM_SET_GUEST_DEBUG, &bad) < 0 && errno == EINVAL, "unknown control refused");
}

GUEST(g_xmm, "movq %rax, %xmm5; syscall; movq %xmm5, %rax; syscall");
GUEST(g_fresh, "stmxcsr (%rdi); mov (%rdi), %eax; movq %xmm7, %rbx; movq %xmm15, %rdx; syscall");

static void test_vectors_fresh(void) {
  /* The first entry ever of this vCPU: nothing of the monitor may be in there. */
  vcpu_code(&cpu, GUEST_BASE, g_fresh, g_fresh_end);
  vcpu_start(&cpu, GUEST_BASE);
  cpu.regs.rdi = 0x300000;
  vcpu_set(&cpu);
  __asm__ volatile("pcmpeqd %%xmm7, %%xmm7; pcmpeqd %%xmm15, %%xmm15" ::: "xmm7", "xmm15");
  vcpu_run(&cpu);
  CHECK(is_syscall(&cpu, 0x1f80) && cpu.regs.rbx == 0 && cpu.regs.rdx == 0,
        "initial vector state: mxcsr %llx xmm7 %llx xmm15 %llx", cpu.regs.rax, cpu.regs.rbx, cpu.regs.rdx);
}

static void test_xmm(void) {
  vcpu_code(&cpu, GUEST_BASE, g_xmm, g_xmm_end);
  vcpu_start(&cpu, GUEST_BASE);
  cpu.regs.rax = 0xabcdef0123456789;
  vcpu_set(&cpu);
  vcpu_run(&cpu);
  __asm__ volatile("pcmpeqd %%xmm5, %%xmm5" ::: "xmm5");
  vcpu_run(&cpu);
  CHECK(is_syscall(&cpu, 0xabcdef0123456789), "xmm5 survives the monitor: %llx", cpu.regs.rax);
}

static void test_xsave(void) {
  static struct kvm_xsave x, y;
  uint64_t *bv = (uint64_t *)((char *)&x + 512);
  struct kvm_fpu f;

  /* Stopped in the middle of g_xmm, xmm5 loaded. */
  vcpu_code(&cpu, GUEST_BASE, g_xmm, g_xmm_end);
  vcpu_start(&cpu, GUEST_BASE);
  cpu.regs.rax = 0x1111222233334444;
  vcpu_set(&cpu);
  vcpu_run(&cpu);
  CHECK(ioctl(cpu.fd, KVM_GET_XSAVE, &x) == 0, "get xsave: %s", strerror(errno));
  CHECK(memcmp((char *)&x + 160 + 5 * 16, "\x44\x44\x33\x33\x22\x22\x11\x11", 8) == 0, "xmm5 is in the image");
  CHECK(*bv & 2, "SSE is marked: %llx", (unsigned long long)*bv);
  memcpy((char *)&x + 160 + 5 * 16, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
  CHECK(ioctl(cpu.fd, KVM_SET_XSAVE, &x) == 0, "set xsave: %s", strerror(errno));
  vcpu_run(&cpu);
  CHECK(is_syscall(&cpu, 0x0807060504030201), "the guest has the new xmm5: %llx", cpu.regs.rax);
  CHECK(ioctl(cpu.fd, KVM_GET_XSAVE, &y) == 0 && memcmp(&x, &y, 512) == 0, "set then get is the same");

  CHECK(ioctl(cpu.fd, KVM_GET_FPU, &f) == 0 && f.mxcsr == 0x1f80 && f.fcw == 0x37f, "get fpu: mxcsr %x fcw %x",
        f.mxcsr, f.fcw);
  f.xmm[5][0] = 0x99;
  CHECK(ioctl(cpu.fd, KVM_SET_FPU, &f) == 0, "set fpu");
  CHECK(ioctl(cpu.fd, KVM_GET_XSAVE, &y) == 0 && ((uint8_t *)&y)[160 + 5 * 16] == 0x99, "seen by get xsave");
  f.mxcsr = 0xffffffff;
  CHECK(ioctl(cpu.fd, KVM_SET_FPU, &f) < 0 && errno == EINVAL, "bad mxcsr refused");
  *bv = 1ull << 62;
  CHECK(ioctl(cpu.fd, KVM_SET_XSAVE, &x) < 0 && errno == EINVAL, "unknown component refused");
  *bv = 3;
  ((uint64_t *)((char *)&x + 512))[1] = 5;  /* XCOMP_BV must be 0 */
  CHECK(ioctl(cpu.fd, KVM_SET_XSAVE, &x) < 0 && errno == EINVAL, "bad header refused");
  vcpu_start(&cpu, GUEST_BASE);
  CHECK(vcpu_run(&cpu) == 0, "and the vCPU still runs");
}

GUEST(g_avx, "vmovdqu (%rdi), %ymm3; syscall; vmovdqu %ymm3, 64(%rdi); syscall");
GUEST(g_pkru, "xor %ecx, %ecx; xor %edx, %edx; mov $0x54, %eax; wrpkru; syscall; xor %ecx, %ecx; rdpkru; syscall");

static void test_avx_pkru(void) {
  static struct kvm_xsave x;
  unsigned a, b, c, d;

  __cpuid_count(7, 0, a, b, c, d);
  if (b & (1 << 5)) {
    memset(machine.mem + 0x100000, 0x3c, 32);
    memset(machine.mem + 0x100040, 0, 32);
    vcpu_code(&cpu, GUEST_BASE, g_avx, g_avx_end);
    vcpu_start(&cpu, GUEST_BASE);
    cpu.regs.rdi = 0x300000;
    vcpu_set(&cpu);
    vcpu_run(&cpu);
    CHECK(ioctl(cpu.fd, KVM_GET_XSAVE, &x) == 0 && ioctl(cpu.fd, KVM_SET_XSAVE, &x) == 0, "AVX image round trip");
    vcpu_run(&cpu);
    CHECK(memcmp(machine.mem + 0x100000, machine.mem + 0x100040, 32) == 0, "ymm3 survives it");
  }
  if (c & (1 << 4)) {
    EXEC(&cpu, g_pkru);
    CHECK(ioctl(cpu.fd, KVM_GET_XSAVE, &x) == 0 && ioctl(cpu.fd, KVM_SET_XSAVE, &x) == 0, "PKRU image round trip");
    vcpu_run(&cpu);
    CHECK(is_syscall(&cpu, 0x54), "PKRU survives it: %llx", cpu.regs.rax);
  }
}

static void test_state(void) {
  static struct kvm_xcrs xcrs;
  static struct {
    struct kvm_cpuid2 head;
    struct kvm_cpuid_entry2 e[128];
  } ids;
  struct kvm_mp_state mp = {.mp_state = 9};
  struct kvm_vcpu_events ev;

  CHECK(ioctl(cpu.fd, KVM_GET_XCRS, &xcrs) == 0 && (xcrs.xcrs[0].value & 3) == 3, "get xcrs");
  CHECK(ioctl(cpu.fd, KVM_SET_XCRS, &xcrs) == 0, "set xcrs to the same");
  xcrs.xcrs[0].value = 1;
  CHECK(ioctl(cpu.fd, KVM_SET_XCRS, &xcrs) < 0 && errno == EINVAL, "another XCR0 refused");
  CHECK(ioctl(cpu.fd, KVM_GET_MP_STATE, &mp) == 0 && mp.mp_state == 0, "mp state");
  CHECK(ioctl(cpu.fd, KVM_SET_MP_STATE, &mp) == 0, "set mp state");
  mp.mp_state = 3;
  CHECK(ioctl(cpu.fd, KVM_SET_MP_STATE, &mp) < 0, "halted refused");
  CHECK(ioctl(cpu.fd, KVM_GET_VCPU_EVENTS, &ev) == 0 && ioctl(cpu.fd, KVM_SET_VCPU_EVENTS, &ev) == 0, "events");
  ids.head.nent = 1;
  CHECK(ioctl(machine.dev, 0xc008ae05, &ids) < 0 && errno == E2BIG, "one CPUID entry is not enough");
  ids.head.nent = 128;
  CHECK(ioctl(machine.dev, 0xc008ae05, &ids) == 0 && ids.head.nent > 8 && ids.e[0].eax >= 7, "supported CPUID");
  CHECK(ioctl(cpu.fd, 0x4008ae90, &ids) == 0, "set CPUID");
}

static void test_flags(void) {
  vcpu_code(&cpu, GUEST_BASE, g_loop_syscall, g_loop_syscall_end);
  vcpu_start(&cpu, GUEST_BASE);
  cpu.regs.rflags = ~0ull & ~0x100ull;  /* all but TF */
  vcpu_set(&cpu);
  CHECK(vcpu_run(&cpu) == 0 && (cpu.regs.rflags & 0x3f7000) == 0x240000,
        "IOPL, NT, VM, VIF, VIP are not the guest's: %llx", cpu.regs.rflags);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  machine_make(&machine);
  vcpu_make(&cpu, &machine, 0);
  test_device();
  test_vectors_fresh();
  test_syscall_exit();
  test_io();
  test_vectors();
  test_outside();
  test_doors();
  test_stub();
  test_bases();
  test_sync_regs();
  test_signals();
  test_debug();
  test_xmm();
  test_xsave();
  test_avx_pkru();
  test_state();
  test_flags();
  vcpu_end(&cpu);
  machine_end(&machine);
  return report();
}
