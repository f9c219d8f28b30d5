// SPDX-License-Identifier: Apache-2.0
// Makes each system call whose number is an argument, with nothing in its registers, and prints the error.
#include "say.h"

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    long result = syscall(atol(argv[i]), 0, 0, 0, 0, 0, 0);
    line("%s %s", argv[i], result == -1 ? strerrorname_np(errno) : "success");
  }
  return 0;
}
