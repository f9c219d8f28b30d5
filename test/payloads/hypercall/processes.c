// SPDX-License-Identifier: Apache-2.0
// fork by hypercall on the same stack, wait, exit codes.
#include "hypercall.h"

static struct Block block;
static int status;

void start(long* stack) {
  (void)stack;
  block = (struct Block){-1, {0}};
  issue(kFork, &block);
  if (block.result == 0) {
    say("child\n");
    leave(9);
  }
  const long child = block.result;
  const long waited = hypercall(kWait4, child, (long)&status, 0, 0, 0, 0);
  say_number("waited for the child: ", waited == child && child > 0);
  say_number("status: ", status >> 8);
  leave(status >> 8);
}
