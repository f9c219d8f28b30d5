// SPDX-License-Identifier: Apache-2.0
// Hostile system calls: numbers, arguments and the structures they point to.
#include "test/syscalls/harness.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool started = (km_hostile::start(), true);
  if (started) km_hostile::run(data, size);
  return 0;
}
