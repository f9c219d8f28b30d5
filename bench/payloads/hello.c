// SPDX-License-Identifier: Apache-2.0
// Says hello and ends with a status of its own, by which the bench knows that this program ran and not a shell's error.
#include <stdio.h>

int main(void) { return puts("hello") < 0 ? 1 : 42; }
