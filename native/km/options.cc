// SPDX-License-Identifier: Apache-2.0
#include "native/km/options.h"

#include <sys/stat.h>

#include <charconv>
#include <string_view>

#include "native/km/options_table.h"

namespace km {
namespace {

const OptionSpec* find_long(std::string_view name) {
  for (const OptionSpec& option : option_table()) {
    if (name == option.name) return &option;
  }
  return nullptr;
}

const OptionSpec* find_letter(char letter) {
  for (const OptionSpec& option : option_table()) {
    if (option.letter == letter && letter != 0) return &option;
  }
  return nullptr;
}

std::string unknown_long(const std::string& word, std::string_view name) {
  std::string text = "unknown option '" + word + "'";
  for (const OptionSpec& option : option_table()) {
    bool begins = !name.empty() && std::string_view(option.name).starts_with(name);
    if (begins && option.kind != OptionKind::kInternal) return text + "; did you mean --" + option.name + "?";
  }
  return text + "; km --help lists the options, '--' ends them";
}

class Parser {
 public:
  Parser(const Strings& words, ParseState& state) : words_(words), state_(state) {}

  /// Consumes options; false with one line in `text`. Stops early when an option has something to print.
  bool parse(std::string* text) {
    while (next_ < words_.size() && state_.print.empty()) {
      const std::string& word = words_[next_];
      if (word.size() < 2 || word[0] != '-') return true;
      next_++;
      if (word == "--") return true;
      bool good = word[1] == '-' ? take_long(word, text) : take_letters(word, text);
      if (!good) return false;
    }
    return true;
  }

  size_t next() const { return next_; }

 private:
  bool take_long(const std::string& word, std::string* text) {
    size_t equals = word.find('=');
    std::string_view name = std::string_view(word).substr(2, equals == word.npos ? word.npos : equals - 2);
    const OptionSpec* option = find_long(name);
    if (option == nullptr) {
      *text = unknown_long(word, name);
      return false;
    }
    if (equals == word.npos) return take_value(*option, nullptr, text);
    std::string value = word.substr(equals + 1);
    return take_value(*option, &value, text);
  }

  /// `-Sv`, `-kFILE`, `-k FILE`, `-Vregex`.
  bool take_letters(const std::string& word, std::string* text) {
    for (size_t i = 1; i < word.size(); i++) {
      const OptionSpec* option = find_letter(word[i]);
      if (option == nullptr) {
        *text = "unknown option '-" + std::string(1, word[i]) + "'" +
                (word.size() > 2 ? " in '" + word + "'" : "") + "; km --help lists the options";
        return false;
      }
      bool attached = option->arg != OptionArg::kNone && i + 1 < word.size();
      std::string value = attached ? word.substr(i + 1) : std::string();
      if (!take_value(*option, attached ? &value : nullptr, text)) return false;
      if (attached) return true;
    }
    return true;
  }

  /// `attached`: the value that came in the same word, or nullptr.
  bool take_value(const OptionSpec& option, const std::string* attached, std::string* text) {
    std::string name = std::string("option --") + option.name;
    if (option.kind == OptionKind::kUnavailable) {
      *text = name + " is not available in this version of km; leave it out";
      return false;
    }
    if (option.arg == OptionArg::kNone && attached != nullptr) {
      *text = name + " takes no value";
      return false;
    }
    std::string value = attached != nullptr ? *attached : std::string();
    if (option.arg == OptionArg::kRequired && attached == nullptr) {
      if (next_ == words_.size()) {
        *text = name + " needs a value: --" + option.name + "=" + option.arg_name;
        return false;
      }
      value = words_[next_++];
    }
    std::string why;
    if (option.set == nullptr) return true;
    if (option.set(state_, value, &why)) {
      if (option.kind == OptionKind::kNormal) carry(option, attached != nullptr || !value.empty(), value);
      return true;
    }
    *text = name + " " + why;
    return false;
  }

  void carry(const OptionSpec& option, bool has_value, const std::string& value) {
    state_.options->carried.push_back(std::string("--") + option.name + (has_value ? "=" + value : ""));
  }

  const Strings& words_;
  ParseState& state_;
  size_t next_ = 0;
};

/// Value of `name` in `environment`, or nullptr.
const char* find_variable(const Strings& environment, std::string_view name) {
  for (const std::string& variable : environment) {
    if (variable.size() > name.size() && variable[name.size()] == '=' && variable.starts_with(name)) {
      return variable.c_str() + name.size() + 1;
    }
  }
  return nullptr;
}

void read_environment(const Strings& environment, Options* options) {
  const char* verbose = find_variable(environment, "KM_VERBOSE");
  const char* log_to = find_variable(environment, "KM_LOGTO");
  if (verbose != nullptr) {
    options->verbose = true;
    options->verbose_tags = verbose;
  }
  if (log_to != nullptr) options->km_log_to = log_to;
  options->kill_unimplemented = find_variable(environment, "KM_KILL_UNIMPL_SCALL") != nullptr;
}

bool starts_with_any(const std::string& variable, const Strings& prefixes) {
  for (const std::string& prefix : prefixes) {
    if (variable.starts_with(prefix)) return true;
  }
  return false;
}

Strings payload_environment(const ParseState& state, const Strings& environment) {
  if (!state.putenv.empty()) return state.putenv;
  if (!state.copyenv_given) return environment;
  Strings kept;
  for (const std::string& variable : environment) {
    if (!starts_with_any(variable, state.copyenv)) kept.push_back(variable);
  }
  return kept;
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

bool is_link(const std::string& path) {
  struct stat st;
  return lstat(path.c_str(), &st) == 0 && S_ISLNK(st.st_mode);
}

Strings to_strings(char** list) {
  Strings strings;
  for (; *list != nullptr; list++) strings.emplace_back(*list);
  return strings;
}

/// A descriptor number and the comma behind it; moves `*at` past both.
bool take_fd(const std::string& text, size_t* at, int* fd) {
  const char* start = text.data() + *at;
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(start, end, *fd);
  if (error != std::errc{} || stop == end || *stop != ',' || *fd < 0) return false;
  *at = static_cast<size_t>(stop - text.data()) + 1;
  return true;
}

}  // namespace

std::string to_text(const Handed& handed) {
  return std::to_string(handed.device) + "," + std::to_string(handed.self) + "," + handed.device_path;
}

bool from_text(const std::string& text, Handed* handed) {
  size_t at = 0;
  Handed read;
  if (!take_fd(text, &at, &read.device) || !take_fd(text, &at, &read.self) || at == text.size()) return false;
  read.device_path = text.substr(at);
  *handed = read;
  return true;
}

Command parse_options(const Strings& arguments, const Strings& environment, Options* options,
                      std::string* text) {
  *options = Options{};
  read_environment(environment, options);
  ParseState state{};
  state.options = options;
  Parser parser(arguments, state);
  if (!parser.parse(text)) return Command::kUsageError;
  if (!state.print.empty()) {
    *text = state.print;
    return Command::kPrint;
  }
  if (!state.putenv.empty() && state.copyenv_given) {
    *text = "options --putenv and --copyenv exclude each other; give one of them";
    return Command::kUsageError;
  }
  if (parser.next() == arguments.size()) {
    *text = "no program given; usage: km [options] program [arguments...], km --help for more";
    return Command::kUsageError;
  }
  options->program = arguments[parser.next()];
  options->argv.assign(arguments.begin() + static_cast<ptrdiff_t>(parser.next()), arguments.end());
  if (state.argv0_given) options->argv.front() = state.argv0;
  options->envp = payload_environment(state, environment);
  return Command::kRun;
}

std::string payload_beside_link(const std::string& argv0, const std::string& execfn) {
  std::string name = base_name(argv0);
  if (name.empty() || name == "km") return "";
  // argv[0] is only the shell's word for it; the path that was executed has the same last component, except
  // for a
  // `#!` line naming the link, where argv[0] is the path.
  bool executed = base_name(execfn) == name;
  if (!executed && argv0.find('/') == argv0.npos) return "";
  const std::string& link = executed ? execfn : argv0;
  return is_link(link) ? link + ".km" : "";
}

Command read_command_line(char** argv, char** envp, const std::string& execfn, Options* options,
                          std::string* text) {
  Strings arguments = to_strings(argv);
  Strings environment = to_strings(envp);
  std::string argv0 = arguments.empty() ? "km" : arguments.front();
  if (!arguments.empty()) arguments.erase(arguments.begin());
  std::string payload = payload_beside_link(argv0, execfn);
  if (payload.empty()) return parse_options(arguments, environment, options, text);
  // The payload keeps the name it was called by: it may look at argv[0], as busybox does.
  arguments.insert(arguments.begin(), {"--", payload});
  Command command = parse_options(arguments, environment, options, text);
  if (command == Command::kRun) options->argv.front() = argv0;
  return command;
}

}  // namespace km
