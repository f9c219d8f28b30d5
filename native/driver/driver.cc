// SPDX-License-Identifier: Apache-2.0
#include "native/driver/driver.h"

#include <errno.h>
#include <fcntl.h>

#include "native/driver/device.h"
#include "native/driver/kkm.h"
#include "native/driver/kvm.h"

namespace km {

const char* const kDeviceSearchOrder[3] = {"/dev/kontain", "/dev/kvm", "/dev/kkm"};

std::unique_ptr<Driver> open_driver(const char* path, int* error, const char** what) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    *error = errno;
    *what = "open";
    return nullptr;
  }
  return adopt_driver(fd, path, error, what);
}

std::unique_ptr<Driver> adopt_driver(int fd, const char* path, int* error, const char** what) {
  *what = "descriptor for the device";
  fd = keep_private(fd);
  if (fd < 0) {
    *error = -fd;
    return nullptr;
  }
  return kkm::is_kkm(fd) ? kkm::make_driver(fd, path, error, what) : kvm::make_driver(fd, path, error, what);
}

}  // namespace km
