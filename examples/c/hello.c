// SPDX-License-Identifier: Apache-2.0
// The first program to run in a machine: says hello, and what it was called with.
#include <stdio.h>

int main(int argc, char** argv) {
  printf("Hello, world\n");
  for (int i = 1; i < argc; i++) printf("argument %d: %s\n", i, argv[i]);
  return 0;
}
