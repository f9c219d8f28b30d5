// SPDX-License-Identifier: Apache-2.0
// Values of arguments that are let through to the host: the handlers and the seccomp filter have one list.
#pragma once

#include <span>
#include <vector>

namespace km {

/// Address families of socket(2) and socketpair(2).
std::span<const int> socket_families();

/// Options of prctl(2) that reach the host.
std::vector<int> prctl_options();

}  // namespace km
