// SPDX-License-Identifier: Apache-2.0
// clone by number 56 with the block at rsp, as the original's runtime issues it: the child finds a copy of the block on
// its own stack with result 0; each thread has a gs:0 of its own; exit by 0x803c; unmapself (506).
#include "hypercall.h"

enum {
  kStackSize = 65536,
  // VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID
  kFlags = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x80000 | 0x100000 | 0x200000,
  kThreads = 4,
  kUnmapself = 506,
};

// long clone_out(flags, stack, ptid, ctid, tls, fn): registers of the ABI, block built at rsp; the child calls fn(rbp).
long clone_out(long flags, char* stack, int* parent_tid, int* child_tid, long tls, void (*fn)(long));
__asm__(
    ".text\n"
    "clone_out:\n"
    "  push %rbp\n"
    "  mov %r9, %rbp\n"        // survives in the child
    "  sub $56, %rsp\n"
    "  movq $56, 0(%rsp)\n"
    "  mov %rdi, 8(%rsp)\n"
    "  mov %rsi, 16(%rsp)\n"
    "  mov %rdx, 24(%rsp)\n"
    "  mov %rcx, 32(%rsp)\n"
    "  mov %r8, 40(%rsp)\n"
    "  movq $0, 48(%rsp)\n"
    "  mov %rsp, %gs:0\n"
    "  mov $0x8038, %edx\n"
    "  outl %eax, %dx\n"
    "  mov 24(%rsp), %rdx\n"
    "  mov (%rsp), %rax\n"
    "  add $56, %rsp\n"
    "  test %rax, %rax\n"
    "  jz 1f\n"
    "  pop %rbp\n"
    "  ret\n"
    "1:\n"
    "  mov %r8, %rdi\n"        // tls, still in its register
    "  and $-16, %rsp\n"
    "  call *%rbp\n"
    "  ud2\n");

static char stacks[kThreads - 1][kStackSize] __attribute__((aligned(4096)));
static int tids[kThreads], alive[kThreads];
static long tls[kThreads], seen_tid[kThreads], tls_ok[kThreads];
static int count;
static long mapped_stack;

static long fs_word(void) {
  long value;
  __asm__ volatile("mov %%fs:0, %0" : "=r"(value));
  return value;
}

static void member(long own_tls) {
  const long index = (long*)own_tls - tls;
  tls_ok[index] = fs_word() == tls[index] && tls[index] == index + 100;
  for (int i = 0; i < 200; i++) __atomic_fetch_add(&count, hypercall(kGetpid, 0, 0, 0, 0, 0, 0) > 0, __ATOMIC_SEQ_CST);
  seen_tid[index] = hypercall(kGettid, 0, 0, 0, 0, 0, 0);
  // The last one gives its stack back while it stands on it.
  while (index == kThreads - 1) hypercall(kUnmapself, mapped_stack, kStackSize, 0, 0, 0, 0);
  for (;;) hypercall(kExit, 0, 0, 0, 0, 0, 0);
}

static void join(int* word) {
  for (int now; (now = __atomic_load_n(word, __ATOMIC_SEQ_CST)) != 0;) hypercall(kFutex, (long)word, 0, now, 0, 0, 0);
}

void start(long* stack) {
  (void)stack;
  long good = 0;
  int ends[2];  // of a pipe: writing one byte tells whether an address can be read
  hypercall(22, (long)ends, 0, 0, 0, 0, 0);
  for (int i = 0; i < kThreads - 1; i++) {
    tls[i] = i + 100;
    alive[i] = 1;
    const long tid = clone_out(kFlags, stacks[i] + kStackSize, &tids[i], &alive[i], (long)&tls[i], member);
    good += tid > 0 && tid == tids[i];
  }
  for (int i = 0; i < kThreads - 1; i++) join(&alive[i]);
  say_number("threads started: ", good);
  say_number("calls made: ", count);
  long right = 0;
  for (int i = 0; i < kThreads - 1; i++) right += seen_tid[i] == tids[i] && tls_ok[i];
  say_number("own id and own tls: ", right);
  // Reuse of an ended thread's stack and vCPU.
  for (int round = 0; round < 50; round++) {
    alive[0] = 1;
    clone_out(kFlags, stacks[0] + kStackSize, &tids[0], &alive[0], (long)&tls[0], member);
    join(&alive[0]);
  }
  say_number("calls after fifty more: ", count);
  const int last = kThreads - 1;
  tls[last] = last + 100;
  alive[last] = 1;
  mapped_stack = hypercall(kMmap, 0, kStackSize, 3, 0x22, -1, 0);
  clone_out(kFlags, (char*)mapped_stack + kStackSize, &tids[last], &alive[last], (long)&tls[last], member);
  join(&alive[last]);
  // The thread is gone; its stack follows within a moment.
  long still_there = 1;
  for (int i = 0; i < 60000 && still_there == 1; i++) still_there = hypercall(kWrite, ends[1], mapped_stack, 1, 0, 0, 0);
  say_number("its stack is gone: ", still_there);
  leave(0);
}
