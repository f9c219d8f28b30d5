// SPDX-License-Identifier: Apache-2.0
#include "native/loader/shebang.h"

#include <algorithm>
#include <string_view>

namespace km {
namespace {

constexpr std::string_view kBlanks = " \t";
constexpr std::string_view kNameEnd{" \t\0", 3};

}  // namespace

ShebangKind parse_shebang(std::span<const uint8_t> bytes, Shebang* shebang) {
  if (bytes.size() < 2 || bytes[0] != '#' || bytes[1] != '!') return ShebangKind::kNone;
  // The kernel's buffer: as much of the file as fits, zeros behind, the last byte not used without a newline.
  char buffer[kShebangSize] = {};
  std::copy_n(bytes.begin(), std::min(bytes.size(), sizeof(buffer)), buffer);
  std::string_view line(buffer + 2, sizeof(buffer) - 2);
  size_t newline = line.find('\n');
  if (newline == line.npos) {
    size_t name = line.find_first_not_of(kBlanks);
    // The end of the name must be in sight, else it might be cut off. Cut-off arguments are Linux's way.
    if (name == line.npos || line.find_first_of(kNameEnd, name) == line.npos) return ShebangKind::kBroken;
    line.remove_suffix(1);
  } else {
    line = line.substr(0, newline);
  }
  size_t last = line.find_last_not_of(kBlanks);
  line = line.substr(0, last == line.npos ? 0 : last + 1);
  size_t start = line.find_first_not_of(kBlanks);
  if (start == line.npos) return ShebangKind::kBroken;
  line.remove_prefix(start);
  size_t end = std::min(line.find_first_of(kNameEnd), line.size());
  shebang->interpreter = line.substr(0, end);
  shebang->has_argument = false;
  if (end == line.size() || line[end] == '\0') return ShebangKind::kScript;
  line.remove_prefix(line.find_first_not_of(kBlanks, end));
  line = line.substr(0, line.find('\0'));
  shebang->has_argument = true;
  shebang->argument = line;
  return ShebangKind::kScript;
}

}  // namespace km
