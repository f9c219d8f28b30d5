// SPDX-License-Identifier: Apache-2.0
// Takes memory until there is no more, touching all of it, then says how that ended.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
  const size_t kPiece = 16 << 20;
  for (int pieces = 0; pieces < 4096; pieces++) {
    char* piece = malloc(kPiece);
    if (!piece) {
      printf("refused with %s, some were given %d\n", strerror(errno), pieces > 0);
      return 12;
    }
    memset(piece, 1, kPiece);
  }
  return 0;
}
