// SPDX-License-Identifier: Apache-2.0
// Hostile command lines: words are separated by newlines, an empty line begins the environment.
#include <algorithm>

#include "native/km/options.h"
#include "test/fuzz/require.h"

using namespace km;

namespace {

void split(const uint8_t* data, size_t size, Strings* arguments, Strings* environment) {
  Strings* to = arguments;
  std::string word;
  for (size_t i = 0; i < size; i++) {
    if (data[i] == '\0') continue;  // no C string holds one
    if (data[i] != '\n') {
      word += static_cast<char>(data[i]);
      continue;
    }
    if (word.empty() && to == arguments)
      to = environment;
    else
      to->push_back(word);
    word.clear();
  }
  if (!word.empty()) to->push_back(word);
}

void check_run(const Options& options, const Strings& arguments, const Strings& environment) {
  REQUIRE(!options.argv.empty() && options.argv.size() <= arguments.size());
  REQUIRE(std::equal(options.argv.begin() + 1, options.argv.end(),
                     arguments.end() - (options.argv.end() - options.argv.begin() - 1)));
  REQUIRE(options.membus_width == 0 || (options.membus_width >= 32 && options.membus_width <= 62));
  // The next km must understand what is carried, as the same thing.
  Strings carried = options.carried;
  carried.insert(carried.end(), {"--argv0=" + options.argv.front(), "--", options.program});
  Options next;
  std::string text;
  REQUIRE(parse_options(carried, environment, &next, &text) == Command::kRun);
  REQUIRE(next.carried == options.carried && next.program == options.program &&
          next.argv.front() == options.argv.front());
  REQUIRE(next.trace == options.trace && next.km_log_to == options.km_log_to &&
          next.device == options.device);
  REQUIRE(next.verbose == options.verbose && next.verbose_tags == options.verbose_tags);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Strings arguments, environment;
  split(data, size, &arguments, &environment);
  Options options;
  std::string text;
  switch (parse_options(arguments, environment, &options, &text)) {
    case Command::kRun:
      check_run(options, arguments, environment);
      break;
    case Command::kPrint:
      REQUIRE(!text.empty());
      break;
    case Command::kUsageError:
      REQUIRE(!text.empty() && text.find('\n') == std::string::npos);
      break;
  }
  return 0;
}
