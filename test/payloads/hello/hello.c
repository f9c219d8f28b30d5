// SPDX-License-Identifier: Apache-2.0
// The smallest program worth running: output, arguments, environment, a status of its own.
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  printf("hello, world\n");
  for (int i = 1; i < argc; i++) printf("argv[%d]=%s\n", i, argv[i]);
  const char* status = getenv("HELLO_STATUS");
  return status ? atoi(status) : 0;
}
