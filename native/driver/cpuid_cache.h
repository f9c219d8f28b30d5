// SPDX-License-Identifier: Apache-2.0
// KVM_GET_SUPPORTED_CPUID runs dozens of CPUID instructions; inside a VM each one traps (0.4 ms of a 1.5 ms machine).
// The answer is kept per boot and per device node in the user's runtime directory.
#pragma once

#include <cstdint>
#include <vector>

namespace km::kvm {

/// Reads the table kept for the device behind `device_fd`. False when there is none that fits.
/// A table is only believed when it belongs to this user and nobody else may write it; KVM checks what it is given
/// anyway, so the worst a forged one does is to show the owner's own payloads wrong feature bits.
bool load_cpuid(int device_fd, std::vector<uint8_t>* table);

/// Keeps the table (write to a temporary file, rename). Failure costs only time.
void store_cpuid(int device_fd, const std::vector<uint8_t>& table);

}  // namespace km::kvm
