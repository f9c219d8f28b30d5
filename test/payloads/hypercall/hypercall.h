// SPDX-License-Identifier: Apache-2.0
// The original's hypercall ABI, spoken directly: a 56-byte block {result, argument 1..6}, its address in the qword at
// gs:0, then `out` of 32 bits to port 0x8000 + number. No C library; nothing here issues `syscall` unless it says so.
#pragma once

enum {
  kRead = 0,
  kWrite = 1,
  kMmap = 9,
  kSigaction = 13,
  kSigreturn = 15,
  kGetpid = 39,
  kClone = 56,
  kFork = 57,
  kExit = 60,
  kWait4 = 61,
  kKill = 62,
  kGettid = 186,
  kFutex = 202,
  kExitGroup = 231,
  kPortBase = 0x8000,
};

struct Block {
  long result;
  long arg[6];
};
_Static_assert(sizeof(struct Block) == 56, "the ABI says 56 bytes");

/// Issues hypercall `number` with the block at `block`.
static inline void issue(long number, struct Block* block) {
  __asm__ volatile("movq %0, %%gs:0\n outl %%eax, %%dx" : : "r"(block), "d"(kPortBase + number), "a"(0) : "memory");
}

static inline long hypercall(long number, long a, long b, long c, long d, long e, long f) {
  struct Block block = {-12345, {a, b, c, d, e, f}};
  issue(number, &block);
  return block.result;
}

static inline long length(const char* text) {
  long n = 0;
  while (text[n]) n++;
  return n;
}

static inline void say(const char* text) { hypercall(kWrite, 1, (long)text, length(text), 0, 0, 0); }

static inline void say_number(const char* what, long value) {
  char digits[24];
  int at = 23;
  const int negative = value < 0;
  digits[at] = 0;
  digits[--at] = '\n';
  unsigned long rest = negative ? -(unsigned long)value : (unsigned long)value;
  do digits[--at] = (char)('0' + rest % 10);
  while ((rest /= 10) != 0);
  if (negative) digits[--at] = '-';
  say(what);
  say(digits + at);
}

__attribute__((noreturn)) static inline void leave(long status) {
  for (;;) hypercall(kExitGroup, status, 0, 0, 0, 0, 0);
}

void start(long* stack);
__asm__(".text\n.globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call start\n");
