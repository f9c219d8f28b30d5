// SPDX-License-Identifier: Apache-2.0
// A handler whose return is a hypercall, as in the original's runtime: rt_sigreturn with 56 bytes of block on the stack.
#include "hypercall.h"

struct Action {
  void (*handler)(int, long*, void*);
  unsigned long flags;
  void (*restorer)(void);
  unsigned long mask;
};

enum { kSiginfo = 4, kRestorer = 0x4000000, kUsr1 = 10, kRestart = 0x10000000, kAlarm = 14, kSetitimer = 38, kPipe = 22 };

void restore_out(void);
__asm__(
    ".text\n"
    "restore_out:\n"
    "  sub $56, %rsp\n"
    "  movq $15, (%rsp)\n"
    "  mov %rsp, %gs:0\n"
    "  mov $0x800f, %edx\n"
    "  outl %eax, %dx\n"
    "  ud2\n");

static volatile int handled, last;
static void handler(int signo, long* info, void* context) {
  (void)info;
  (void)context;
  handled++;
  last = signo;
}

static void install(int signo, unsigned long flags) {
  const struct Action action = {handler, kSiginfo | kRestorer | flags, restore_out, 0};
  say_number("sigaction: ", hypercall(kSigaction, signo, (long)&action, 0, 8, 0, 0));
}

void start(long* stack) {
  (void)stack;
  install(kUsr1, 0);
  const long pid = hypercall(kGetpid, 0, 0, 0, 0, 0, 0);
  for (int i = 0; i < 100; i++) hypercall(kKill, pid, kUsr1, 0, 0, 0, 0);
  say_number("handled: ", handled);
  say_number("last: ", last);
  // A blocked read, first interrupted, then restarted by its own port.
  int fds[2];
  static char byte;
  say_number("pipe: ", hypercall(kPipe, (long)fds, 0, 0, 0, 0, 0));
  const long once[4] = {0, 0, 0, 300000};
  install(kAlarm, 0);
  hypercall(kSetitimer, 0, (long)once, 0, 0, 0, 0);
  say_number("interrupted read: ", hypercall(kRead, fds[0], (long)&byte, 1, 0, 0, 0));
  install(kAlarm, kRestart);
  struct Block fork_block = {-1, {0}};
  issue(kFork, &fork_block);
  if (fork_block.result == 0) {
    // The child writes only after the parent's alarm went off.
    const long later[2] = {1, 500000000};
    hypercall(35, (long)later, 0, 0, 0, 0, 0);
    hypercall(kWrite, fds[1], (long)"x", 1, 0, 0, 0);
    leave(0);
  }
  hypercall(kSetitimer, 0, (long)once, 0, 0, 0, 0);
  say_number("restarted read: ", hypercall(kRead, fds[0], (long)&byte, 1, 0, 0, 0));
  say_number("handled: ", handled);
  hypercall(kWait4, -1, 0, 0, 0, 0, 0);
  leave(0);
}
