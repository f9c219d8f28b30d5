// SPDX-License-Identifier: Apache-2.0
// Hostile first lines of scripts.
#include "native/loader/shebang.h"
#include "test/fuzz/require.h"

using namespace km;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Shebang line;
  ShebangKind kind = parse_shebang({data, size}, &line);
  bool marked = size >= 2 && data[0] == '#' && data[1] == '!';
  REQUIRE(marked == (kind != ShebangKind::kNone));
  if (kind != ShebangKind::kScript) return 0;
  const std::string ends(" \t\n\0", 4);
  REQUIRE(line.interpreter.find_first_of(ends) == std::string::npos);
  REQUIRE(line.interpreter.size() + line.argument.size() < kShebangSize - 2);
  REQUIRE(line.has_argument || line.argument.empty());
  REQUIRE(line.argument.find_first_of(std::string("\n\0", 2)) == std::string::npos);
  REQUIRE(line.argument.find_first_of(" \t") != 0);
  // Nothing behind the bytes Linux looks at matters.
  Shebang again;
  REQUIRE(parse_shebang({data, std::min(size, kShebangSize)}, &again) == kind);
  REQUIRE(again.interpreter == line.interpreter && again.argument == line.argument);
  return 0;
}
