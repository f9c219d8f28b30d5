// SPDX-License-Identifier: Apache-2.0
// Writes to the file named by argument 1 which descriptors were open at the start, and what writing to 1 gave.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char** argv) {
  char open_ones[128] = "";
  for (int fd = 0; fd < 64; fd++) {
    if (fcntl(fd, F_GETFD) < 0) continue;
    char number[8];
    snprintf(number, sizeof number, " %d", fd);
    strncat(open_ones, number, sizeof open_ones - strlen(open_ones) - 1);
  }
  const long wrote = write(1, "x", 1);
  const int error = errno;
  if (argc < 2) return 99;
  FILE* file = fopen(argv[1], "w");
  if (!file) return 98;
  fprintf(file, "open:%s\nwrite: %ld %s\n", open_ones, wrote, wrote < 0 ? strerror(error) : "");
  return fclose(file) == 0 ? 0 : 97;
}
