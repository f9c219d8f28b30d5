// SPDX-License-Identifier: Apache-2.0
// Ordinary calls: results, untouched registers, flags and argument words; `syscall` beside `out`; argc and argv.
#include "hypercall.h"

static struct Block block;

// All registers before and after one `out`; counts those that changed.
static long changed_registers(void) {
  long changed;
  block = (struct Block){-1, {0}};
  __asm__ volatile(
      "lea %[block], %%rax\n"
      "mov %%rax, %%gs:0\n"
      "mov $0x11, %%rbx\n mov $0x33, %%rcx\n mov $0x55, %%rsi\n mov $0x66, %%rdi\n mov $0x77, %%r8\n mov $0x88, %%r9\n"
      "mov $0x99, %%r10\n mov $0xaa, %%r11\n mov $0xbb, %%r12\n mov $0xcc, %%r13\n mov $0xdd, %%r14\n mov $0xee, %%r15\n"
      "mov $0x1234567, %%rax\n mov $0x8027, %%edx\n"
      "stc\n"
      "outl %%eax, %%dx\n"
      "mov $0, %%eax\n"  // mov leaves the flags alone
      "jc 1f\n inc %%rax\n"
      "1: cmp $0x11, %%rbx\n je 1f\n inc %%rax\n"
      "1: cmp $0x33, %%rcx\n je 1f\n inc %%rax\n"
      "1: cmp $0x8027, %%rdx\n je 1f\n inc %%rax\n"
      "1: cmp $0x55, %%rsi\n je 1f\n inc %%rax\n"
      "1: cmp $0x66, %%rdi\n je 1f\n inc %%rax\n"
      "1: cmp $0x77, %%r8\n je 1f\n inc %%rax\n"
      "1: cmp $0x88, %%r9\n je 1f\n inc %%rax\n"
      "1: cmp $0x99, %%r10\n je 1f\n inc %%rax\n"
      "1: cmp $0xaa, %%r11\n je 1f\n inc %%rax\n"
      "1: cmp $0xbb, %%r12\n je 1f\n inc %%rax\n"
      "1: cmp $0xcc, %%r13\n je 1f\n inc %%rax\n"
      "1: cmp $0xdd, %%r14\n je 1f\n inc %%rax\n"
      "1: cmp $0xee, %%r15\n je 1f\n inc %%rax\n"
      "1:\n"
      : "=&a"(changed)
      : [block] "m"(block)
      : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory");
  return changed;
}

// rax alone: it must come back as it was.
static long rax_after(long value) {
  __asm__ volatile("lea %[block], %%rcx\n mov %%rcx, %%gs:0\n outl %%eax, %%dx" : "+a"(value) : [block] "m"(block), "d"(kPortBase + kGetpid) : "rcx", "memory");
  return value;
}

void start(long* stack) {
  say("hello from a hypercall\n");
  say_number("arguments: ", stack[0]);
  say_number("write's result: ", hypercall(kWrite, 1, (long)"12345\n", 6, 0, 0, 0));
  say_number("registers changed: ", changed_registers());
  say_number("rax afterwards: ", rax_after(4711));
  long pid;
  __asm__ volatile("syscall" : "=a"(pid) : "a"(kGetpid) : "rcx", "r11", "memory");
  say_number("same pid by both ways: ", pid == block.result && pid > 0);
  block = (struct Block){0, {1, (long)"", 0, 44, 55, 66}};
  issue(kWrite, &block);
  say_number("argument words kept: ", block.arg[0] == 1 && block.arg[2] == 0 && block.arg[3] == 44 && block.arg[5] == 66);
  say_number("bad descriptor: ", hypercall(kWrite, 77, (long)"x", 1, 0, 0, 0));
  say_number("bad pointer: ", hypercall(kWrite, 1, 16, 1, 0, 0, 0));
  say_number("no such call: ", hypercall(400, 0, 0, 0, 0, 0, 0));
  long sum = 0;
  for (int i = 0; i < 1000; i++) sum += hypercall(kGetpid, 0, 0, 0, 0, 0, 0) == pid;
  say_number("a thousand calls: ", sum);
  leave(3);
}
