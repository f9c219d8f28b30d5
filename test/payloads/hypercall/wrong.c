// SPDX-License-Identifier: Apache-2.0
// Calls made wrongly; the first letter of the argument says which. Each ends in a signal.
//   p port above the table    n port below it     b out of one byte   w out of two bytes   i in instead of out
//   s string input            z block at nowhere  c block at a non-canonical address
//   r block that cannot be written                u call without a handler
// (`rep outs` is left out: KVM reports it as single outputs, which are calls like any other.)
#include "hypercall.h"

static const struct Block read_only = {-1, {0}};

static void out_to(int port) { __asm__ volatile("outl %%eax, %%dx" : : "d"(port), "a"(0)); }

void start(long* stack) {
  static struct Block block;
  const char* which = stack[0] > 1 ? (const char*)stack[2] : "?";
  __asm__ volatile("movq %0, %%gs:0" : : "r"(&block) : "memory");
  switch (which[0]) {
    case 'p': out_to(kPortBase + 1000); break;
    case 'n': out_to(kPortBase - 10); break;
    case 'b': __asm__ volatile("outb %%al, %%dx" : : "d"(kPortBase + kGetpid), "a"(0)); break;
    case 'w': __asm__ volatile("outw %%ax, %%dx" : : "d"(kPortBase + kGetpid), "a"(0)); break;
    case 'i': __asm__ volatile("inl %%dx, %%eax" : : "d"(kPortBase + kGetpid) : "rax"); break;
    case 's': {
      long count = 2;
      struct Block* to = &block;
      __asm__ volatile("rep insl" : "+c"(count), "+D"(to) : "d"(kPortBase + kGetpid) : "memory");
      break;
    }
    case 'z': issue(kGetpid, (struct Block*)16); break;
    case 'c': issue(kGetpid, (struct Block*)0x1234567890abcdef); break;
    case 'r': issue(kGetpid, (struct Block*)&read_only); break;
    case 'u': say_number("result: ", hypercall(400, 0, 0, 0, 0, 0, 0)); break;
    default: say("which?\n");
  }
  say("went on\n");
  leave(0);
}
