// SPDX-License-Identifier: Apache-2.0
// Random hostile system calls (fixed seeds) against the dispatcher; see test/syscalls/harness.h for what is checked.
#include "test/syscalls/harness.h"

int main() {
  km_hostile::start();
  constexpr int kRuns = 20000;
  uint64_t seed = 88172645463325252ull;
  uint8_t bytes[1024];
  for (int run = 0; run < kRuns; run++) {
    for (uint8_t& byte : bytes) {  // xorshift64 (Marsaglia): the same calls on every machine
      seed ^= seed << 13;
      seed ^= seed >> 7;
      seed ^= seed << 17;
      byte = static_cast<uint8_t>(seed >> 32);
    }
    km_hostile::run(bytes, sizeof(bytes));
  }
  const bool reached = km_hostile::state().forwarded > kRuns;
  printf("%d passed, %d failed\n", reached ? 1 : 0, reached ? 0 : 1);
  return reached ? 0 : 1;
}
