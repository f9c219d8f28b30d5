// SPDX-License-Identifier: Apache-2.0
// The ioctl commands that are let through.
#pragma once

#include <cstdint>
#include <span>

namespace km {

/// What the third argument is.
enum class IoctlArg : uint8_t {
  kNone,    ///< ignored
  kNumber,  ///< an integer
  kMemory,  ///< memory without addresses inside, below 1 MiB or accessed in order: its start decides
  kFd,      ///< a descriptor number
  kIfConf,  ///< struct ifconf: length and address
  kRoute,   ///< struct rtentry: holds the address of a device name
  kClone,   ///< struct file_clone_range: holds a descriptor number
};

struct IoctlCommand {
  uint32_t request;
  const char* name;
  IoctlArg arg;
};

/// All of them, for the seccomp filter.
std::span<const IoctlCommand> ioctl_commands();

/// The entry of `request`, or nullptr when the command is not let through.
const IoctlCommand* find_ioctl(uint32_t request);

/// Name of a command in the table, or nullptr.
const char* ioctl_name(uint32_t request);

}  // namespace km
