// SPDX-License-Identifier: Apache-2.0
// /dev/kvm behind the Driver interface.
#pragma once

#include <memory>

#include "native/driver/driver.h"

namespace km::kvm {

/// Takes over the private descriptor of an opened device. nullptr with *error and *what when it does not speak KVM API 12.
std::unique_ptr<Driver> make_driver(int device_fd, const char* path, int* error, const char** what);

}  // namespace km::kvm
