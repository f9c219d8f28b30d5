// SPDX-License-Identifier: Apache-2.0
// Counters behind -S.
#pragma once

#include <cstdint>

namespace km {

/// Now in nanoseconds when counting is on, else 0.
uint64_t count_start();

/// Adds one call that began at `start`.
void count_call(uint64_t nr, int64_t result, uint64_t start);

}  // namespace km
