// SPDX-License-Identifier: Apache-2.0
// Landlock (landlock(7)): which files this process and all it starts can open.
#pragma once

#include <string>
#include <vector>

#include "native/confine/confine.h"

namespace km::confine {

/// From here on only what `rules` name can be opened, and nothing but `self_fd` (the monitor) be executed by the host.
/// Needs no_new_privs. False: the reason is in `why`.
bool restrict_files(const std::vector<FileRule>& rules, int self_fd, std::string* why);

/// Rights that version `abi` of Landlock can take away, and what a rule gives back of them.
struct FileRights {
  uint64_t handled, read, write;
};
FileRights file_rights(int abi);

}  // namespace km::confine
