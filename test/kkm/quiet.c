// SPDX-License-Identifier: Apache-2.0
/*
 * A guest cannot write the kernel log: every way to fail, again and again, adds
 * no line. Three ways Linux itself notes for any program, rate-limited, before a
 * module could see them (docs/kkm.md): of those the number of lines is bounded.
 */
#define _GNU_SOURCE
#include "machine.h"

#define ROUNDS 300
#define FILE_AT 0x1000000ul /* within the slot, behind an empty file */

struct way {
  const char *name, *code, *end;
  bool noted; /* by Linux, rate-limited */
};

GUEST(q_de, "xor %ecx, %ecx; div %ecx");
GUEST(q_ud, "ud2");
GUEST(q_bp, "int3");
GUEST(q_cli, "cli");
GUEST(q_hlt, "hlt");
GUEST(q_out, "mov $0x3f8, %edx; out %al, %dx");
GUEST(q_tf, "pushf; orl $0x100, (%rsp); popf; nop; nop");
GUEST(q_null, "xor %eax, %eax; mov (%rax), %rax");
GUEST(q_kernel, "mov $0xffffffff81000000, %rax; mov %rax, (%rax)");
GUEST(q_noncanon, "mov $0x8000000000000000, %rax; jmp *%rax");
GUEST(q_jump_kernel, "mov $0xffffffff81000000, %rax; jmp *%rax");
GUEST(q_jump_null, "xor %eax, %eax; jmp *%rax");
GUEST(q_stack, "mov $0x10, %esp; push %rax");
GUEST(q_no_page, "mov $0x1000000, %eax; mov (%rax), %rax");
GUEST(q_align, "pushf; orl $0x40000, (%rsp); popf; mov 1(%rsp), %rax; mov $0x300001, %eax; mov (%rax), %rax; ud2");
GUEST(q_fpu, "fninit; fnstcw (%rsp); andw $0xffc0, (%rsp); fldcw (%rsp); fld1; fldz; fdivrp; fwait; ud2");
GUEST(q_simd, "movl $0, (%rsp); ldmxcsr (%rsp); xorps %xmm0, %xmm0; movaps %xmm0, %xmm1; divps %xmm1, %xmm0; ud2");
GUEST(q_syscall, "mov $-1, %rax; syscall");
GUEST(q_int80, "mov $20, %eax; int $0x80");
GUEST(q_int20, "int $0x20");
GUEST(q_exit, "mov $231, %eax; syscall");
GUEST(q_sgdt, "sgdt (%rsp); ud2");
GUEST(q_smsw, "smsw %eax; ud2");
GUEST(q_vsyscall, "mov $0xffffffffff600000, %rax; call *%rax; ud2");
GUEST(q_vsyscall_mid, "mov $0xffffffffff600007, %rax; jmp *%rax");

#define WAY(name, noted) {#name, name, name##_end, noted}
static const struct way ways[] = {
    WAY(q_de, false),      WAY(q_ud, false),      WAY(q_bp, false),       WAY(q_cli, false),
    WAY(q_hlt, false),     WAY(q_out, false),     WAY(q_tf, false),       WAY(q_null, false),
    WAY(q_kernel, false),  WAY(q_noncanon, false), WAY(q_jump_kernel, false), WAY(q_jump_null, false),
    WAY(q_stack, false),   WAY(q_no_page, false), WAY(q_align, false),    WAY(q_fpu, false),
    WAY(q_simd, false),    WAY(q_syscall, false), WAY(q_int80, false),    WAY(q_int20, false),
    WAY(q_exit, false),    WAY(q_sgdt, true),     WAY(q_smsw, true),      WAY(q_vsyscall, true),
    WAY(q_vsyscall_mid, true),
};

static struct machine machine;
static struct vcpu cpu;
static int log_fd;

/* New records of the kernel log that name us or the module (console_loglevel and the rest do not matter). */
static int new_lines(const char *what) {
  char record[4096];
  int n = 0;

  for (;;) {
    ssize_t size = read(log_fd, record, sizeof(record) - 1);

    if (size < 0 && errno == EPIPE)  /* overrun: that alone is too much */
      n += 1000;
    else if (size <= 0)
      return n;
    else {
      record[size] = 0;
      if (strstr(record, "kkm") || strstr(record, "suppressed")) {
        n++;
        if (n <= 2)
          printf("%s: %s", what, record);
      }
    }
  }
}

static void try_way(const struct way *way) {
  double started = now_ns();
  int lines, bound;

  for (int i = 0; i < ROUNDS; i++) {
    int r = vcpu_exec(&cpu, way->code, way->end);

    if (r) {
      CHECK(false, "%s: r %d", way->name, r);
      return;
    }
  }
  lines = new_lines(way->name);
  /* Linux's usual limit: ten lines and a word on the rest in five seconds */
  bound = way->noted ? 20 + 3 * (int)((now_ns() - started) / 1e9) : 0;
  CHECK(lines <= bound, "%s: %d lines in the kernel log after %d rounds, bound %d", way->name, lines, ROUNDS, bound);
}

int main(void) {
  char path[] = "/tmp/kkm-quiet-XXXXXX";
  int empty;

  setvbuf(stdout, NULL, _IONBF, 0);
  log_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
  if (log_fd < 0)
    die("/dev/kmsg");
  machine_make(&machine);
  empty = mkstemp(path);
  unlink(path);
  if (mmap(machine.mem + (FILE_AT - GUEST_BASE), PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, empty, 0) == MAP_FAILED)
    die("mmap of an empty file");
  vcpu_make(&cpu, &machine, 0);
  lseek(log_fd, 0, SEEK_END);
  for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
    try_way(&ways[i]);
  CHECK(kill(machine.companion, 0) == 0, "the companion lives");
  vcpu_end(&cpu);
  machine_end(&machine);
  CHECK(all_gone(), "all gone");
  CHECK(new_lines("end") == 0, "and its end is silent");
  return report();
}
