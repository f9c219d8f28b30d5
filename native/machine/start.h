// SPDX-License-Identifier: Apache-2.0
// From options to a running payload.
#pragma once

#include <string>

#include "native/machine/process.h"

namespace km {

/// Opens the device, loads the program and runs it. Returns an exit status with one line in `why` when the payload
/// could not start; does not return otherwise.
int start_payload(const Options& options, std::string* why);

/// Shows the host's [vvar]..[vdso] pages to the payload, so that its clock needs no exit. Returns 0 (also when the
/// host has none: vdso_base stays 0) or -errno.
int map_vdso(Process& process);

}  // namespace km
