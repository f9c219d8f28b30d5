// SPDX-License-Identifier: Apache-2.0
// /proc as the payload must see it: about itself it learns of the payload, not of km, and no file leads to memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace km {

/// What a path (payload text) means before any call is made with it.
struct PathView {
  const char* instead = nullptr;  ///< use this path: the name was the payload's own .../exe link
  bool hidden = false;            ///< names one of the monitor's descriptors: does not exist
};
PathView view_path(const char* path);

/// Decides about a descriptor the payload just opened. Returns it (its number may now stand for a virtual file), or
/// -errno with the descriptor closed. `flags`: as given to open(2); `magic`: the path went through a /proc magic link.
int64_t review_opened_fd(int fd, int flags, bool magic);

/// True when `path` (length bytes, as readlink(2) gave it) is the monitor's executable.
bool is_monitor_path(const char* path, size_t length);

/// Removes the monitor's descriptors and threads from `length` bytes of directory entries at payload address `entries`,
/// when `fd` is an own /proc/.../fd, fdinfo or task directory. Returns the new length or -errno. `name_offset`: of d_name.
int64_t filter_fd_entries(int fd, uint64_t entries, int64_t length, unsigned name_offset);

/// Text of a virtual file of the own process ("maps", "cmdline", "auxv", ...); false when `name` is not virtual.
/// `directory`: "" for the process, "task/TID/" for one of its threads.
bool own_proc_text(const std::string& directory, const std::string& name, std::string* text);

/// Opens self/NAME for reading below the monitor's own view of /proc (good after the payload's chroot). fd or -errno.
int64_t open_own_proc(const char* name);

}  // namespace km
