// SPDX-License-Identifier: Apache-2.0
// A payload that looks for a way around the monitor. Argument 1 is the door; "REACHED" on standard output means that the
// host's kernel answered. `peek` tries addresses (hexadecimal, one a line, from standard input) and prints for each
// what worked: load, store, jump, as the source of a write(2) and the target of a read(2).
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

// 32-bit numbers: write is 4, which is stat to a 64-bit caller.
enum { kWrite32 = 4, kUname64 = 63 };

static const char kText[] = "REACHED\n";

static void int80(void) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(kWrite32), "b"(1), "c"(kText), "d"(8) : "memory");
}

static void fast32(void) {
  // The kernel takes the sixth argument from the stack at ebp: one that 32 bits can name.
  static char stack[4096];
  __asm__ volatile("mov %4, %%rbp\n mov %4, %%rsp\n sysenter"
                   :
                   : "a"(kWrite32), "b"(1), "c"(kText), "d"(8), "r"(stack + sizeof stack / 2)
                   : "memory");
}

// Into 32-bit code by a far jump, and a call from there. (No far return: QEMU 7.2 gets it wrong.)
static void compatibility(int by_syscall) {
  static const unsigned char by_int[] = {0xcd, 0x80, 0x0f, 0x0b}, by_call[] = {0x89, 0xcd, 0x0f, 0x05, 0x0f, 0x0b};
  unsigned char* low = mmap(NULL, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  if (low == MAP_FAILED) return;
  memcpy(low + 64, by_syscall ? by_call : by_int, by_syscall ? sizeof by_call : sizeof by_int);
  uint32_t target[2] = {(uint32_t)(uintptr_t)low + 64, 0x23};
  memcpy(low, target, sizeof target);
  __asm__ volatile("mov %4, %%rsp\n ljmp *(%5)"
                   :
                   : "a"(kWrite32), "b"(1), "c"(kText), "d"(8), "r"(low + 2048), "r"(low)
                   : "memory");
}

static void int80_from_32(void) { compatibility(0); }
static void syscall_from_32(void) { compatibility(1); }

static long raw(uint64_t number, uint64_t a, uint64_t b, uint64_t c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

/// uname(2) by another number: the monitor's answer names the monitor.
static void by_number(uint64_t number) {
  struct utsname name;
  memset(&name, 0, sizeof name);
  long result = raw(number, (uint64_t)&name, 0, 0);
  if (name.release[0] != 0 && strstr(name.release, "kontain") == NULL) fputs(kText, stdout);
  printf("result %ld, %s\n", result, name.release[0] != 0 ? "answered" : "refused");
}

static void x32(void) { by_number(0x40000000 | kUname64); }
static void high_bits(void) { by_number(0xffffffff00000000 | kUname64); }
static void minus_one(void) { printf("result %ld\n", raw(-1, 1, (uint64_t)kText, 8)); }

static void vsyscall(void) {
  long now = 0;
  ((long (*)(long*))0xffffffffff600400)(&now);
  printf("time %s\n", now != 0 ? "written" : "not written");
}

static sigjmp_buf back;
static void caught(int signo) { siglongjmp(back, signo); }

static int load(volatile char* at) { return sigsetjmp(back, 1) == 0 ? ((void)*at, 1) : 0; }
static int store(volatile char* at) { return sigsetjmp(back, 1) == 0 ? (*at = 1, 1) : 0; }
static int jump(char* at) { return sigsetjmp(back, 1) == 0 ? (((void (*)(void))at)(), 1) : 0; }

static void peek(void) {
  // On a stack of their own: the jump may have left rsp anywhere.
  static char stack[65536];
  const stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};
  const struct sigaction action = {.sa_handler = caught, .sa_flags = SA_ONSTACK};
  const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE};
  int pair[2];
  char line[64];
  sigaltstack(&own, NULL);
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) sigaction(signals[i], &action, NULL);
  if (pipe(pair) != 0) return;
  puts("ready");
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) != NULL) {
    char* at = (char*)strtoull(line, NULL, 16);
    int out = write(pair[1], at, 1) == 1;
    if (!out && write(pair[1], "x", 1) != 1) return;
    int in = read(pair[0], at, 1) == 1;
    char byte;
    if (!in && read(pair[0], &byte, 1) != 1) return;
    printf("%llx load %d store %d jump %d out %d in %d\n", (unsigned long long)at, load(at), store(at), jump(at), out, in);
    fflush(stdout);
  }
}

static const struct {
  const char* name;
  void (*act)(void);
} kDoors[] = {{"int80", int80},         {"sysenter", fast32}, {"int80-32", int80_from_32}, {"syscall-32", syscall_from_32},
              {"x32", x32},             {"high", high_bits},  {"minus-one", minus_one},    {"vsyscall", vsyscall},
              {"peek", peek}};

int main(int argc, char** argv) {
  for (size_t i = 0; i < sizeof kDoors / sizeof kDoors[0]; i++) {
    if (argc != 2 || strcmp(argv[1], kDoors[i].name) != 0) continue;
    kDoors[i].act();
    printf("went on\n");
    return 0;
  }
  return 98;
}
