// SPDX-License-Identifier: Apache-2.0
// Prints the processor's vendor as CPUID leaf 0 tells it.
#include <cpuid.h>
#include <stdio.h>
#include <string.h>

int main(void) {
  unsigned a, words[3];
  __cpuid(0, a, words[0], words[2], words[1]);
  char vendor[13] = "";
  memcpy(vendor, words, 12);
  printf("%s\n", vendor);
  return 0;
}
