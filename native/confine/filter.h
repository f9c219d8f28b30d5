// SPDX-License-Identifier: Apache-2.0
// The seccomp filter on the monitor, made from the one table of system calls (native/syscalls/table.def) and the list
// of the monitor's own needs (own.def).
//
// A call that is not allowed raises SIGSYS (SECCOMP_RET_TRAP): nothing has happened on the host, and the monitor has
// the chance to say in one line which call it was before it ends (signals.cc). Numbers of the 32-bit and x32
// interfaces, which the monitor cannot make by mistake, end the process at once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "native/confine/program.h"

namespace km::confine {

/// What a filter does with calls that are not allowed: SECCOMP_RET_*.
struct Verdicts {
  uint32_t forbidden;  ///< a call of the 64-bit interface
  uint32_t foreign;    ///< any call of another interface
};

Code build_filter(const Verdicts& verdicts);

enum class When : uint8_t { kAlways, kKkm, kSignal, kBirth };

/// A row of own.def.
struct OwnCall {
  const char* name;
  int nr;
  When when;
};
struct DeviceRequest {
  const char* name;
  uint32_t request;
  When when;
};
std::span<const OwnCall> own_calls();
std::span<const DeviceRequest> device_requests();

/// prctl option that nothing but this filter answers with kProbeAnswer: how a monitor started by another sees that the
/// filter is on already.
constexpr int kProbeOption = 0x6b6d5343;
constexpr int kProbeAnswer = 0x6b6;  // no errno; the kernel says EINVAL without the filter

}  // namespace km::confine
