// SPDX-License-Identifier: Apache-2.0
// /dev/kkm behind the Driver interface.
#pragma once

#include <memory>

#include "native/driver/driver.h"

namespace km::kkm {

/// Whether the opened device is KKM (KVM and others answer ENOTTY).
bool is_kkm(int device_fd);

/// Takes over the private descriptor of an opened device. nullptr with *error and *what when this module's version is not known.
std::unique_ptr<Driver> make_driver(int device_fd, const char* path, int* error, const char** what);

}  // namespace km::kkm
