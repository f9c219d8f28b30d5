// SPDX-License-Identifier: Apache-2.0
// Says that it is up, then sleeps until it is killed: its memory can be read meanwhile.
#include <stdio.h>
#include <unistd.h>

int main(void) {
  puts("up");
  fflush(stdout);
  for (;;) pause();
}
