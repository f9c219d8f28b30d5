// SPDX-License-Identifier: Apache-2.0
// The command line: every line of the table, every kind of mistake, the payload's environment, links named
// otherwise.
#include <unistd.h>

#include "native/base/log.h"
#include "native/km/options.h"
#include "native/km/options_table.h"
#include "test/native/check.h"
#include "test/native/scratch.h"

using namespace km;

namespace {

struct Parsed {
  Command command = Command::kUsageError;
  Options options;
  std::string text;
};

Parsed parse(const Strings& arguments, const Strings& environment = {}) {
  Parsed parsed;
  parsed.command = parse_options(arguments, environment, &parsed.options, &parsed.text);
  return parsed;
}

/// Must run; the options are returned.
Options good(const Strings& arguments, const Strings& environment = {}) {
  Parsed parsed = parse(arguments, environment);
  CHECK_SEEN(parsed.command == Command::kRun, parsed.text);
  return parsed.options;
}

/// Must fail with one line that contains `fragment`.
void bad(const Strings& arguments, const std::string& fragment) {
  Parsed parsed = parse(arguments);
  CHECK_SEEN(parsed.command == Command::kUsageError && parsed.text.find(fragment) != std::string::npos,
             "wanted '" + fragment + "', got: " + parsed.text);
  CHECK_SEEN(parsed.text.find('\n') == std::string::npos, parsed.text);
}

/// A value every option that takes one accepts.
const char* value_for(const OptionSpec& option) {
  std::string name = option.name;
  if (name == "membus-width") return "40";
  if (name == "putenv") return "A=B";
  if (name == "help") return "markdown";
  if (name == "status-fd" || name == "log-fd") return "2";
  if (name == "landlock") return "/tmp:ro";
  if (name == "seccomp") return "log";
  if (name == "handed") return "3,4,/dev/kvm";
  return "x";
}

void test_every_option() {
  for (const OptionSpec& option : option_table()) {
    std::string name = std::string("--") + option.name;
    bool takes = option.arg != OptionArg::kNone;
    if (option.kind == OptionKind::kUnavailable) {
      bad({name, "p"}, "not available in this version");
      bad({name + "=x", "p"}, "not available in this version");
      if (option.letter != 0) bad({std::string("-") + option.letter, "p"}, "not available in this version");
      continue;
    }
    bool prints = std::string(option.name) == "help" || std::string(option.name) == "version";
    Command expected = prints ? Command::kPrint : Command::kRun;
    Strings spellings = {takes ? name + "=" + value_for(option) : name};
    if (option.letter != 0)
      spellings.push_back(std::string("-") + option.letter + (takes ? value_for(option) : ""));
    for (const std::string& spelling : spellings) {
      Parsed parsed = parse({spelling, "p"});
      CHECK_SEEN(parsed.command == expected, spelling + ": " + parsed.text);
      CHECK_SEEN(prints || parsed.options.program == "p", spelling);
    }
    if (option.arg == OptionArg::kNone) bad({name + "=x", "p"}, "takes no value");
    if (option.arg == OptionArg::kRequired) {
      CHECK_SEEN(parse({name, value_for(option), "p"}).options.program == "p", name);
      bad({name}, "needs a value");
    }
    bool in_help =
        help_text().find(name) != std::string::npos && help_markdown().find(name) != std::string::npos;
    CHECK_SEEN(in_help == (option.kind != OptionKind::kInternal), name);
  }
}

void test_handed() {
  const Handed handed = parse({"--handed=1030,1031,/dev/a,b", "p"}).options.handed;
  CHECK_SEEN(handed.device == 1030 && handed.self == 1031 && handed.device_path == "/dev/a,b", to_text(handed));
  CHECK_SEEN(to_text(handed) == "1030,1031,/dev/a,b", to_text(handed));
  for (const char* wrong : {"", "3", "3,4", "3,4,", ",4,/d", "-3,4,/d", "3,-4,/d", "3,4x,/d", "99999999999,4,/d"})
    bad({std::string("--handed=") + wrong, "p"}, "needs DEVICE,SELF,PATH");
}

void test_table() {
  for (const OptionSpec& option : option_table()) {
    int same_name = 0, same_letter = 0;
    for (const OptionSpec& other : option_table()) {
      same_name += std::string(option.name) == other.name;
      same_letter += option.letter != 0 && option.letter == other.letter;
    }
    CHECK_SEEN(same_name == 1 && same_letter <= 1, option.name);
    bool effective = option.kind != OptionKind::kNoEffect && option.kind != OptionKind::kUnavailable;
    CHECK_SEEN((option.set != nullptr) == effective, option.name);
    CHECK_SEEN(option.kind == OptionKind::kInternal || option.help[0] != '\0', option.name);
  }
}

void test_values() {
  Options options = good({"-V", "-SFdev", "-P", "40", "--log-to=out", "-kmine", "--trace=file,net",
                          "--vendorid", "prog", "-V", "x"});
  CHECK(options.verbose && options.verbose_tags.empty() && options.hcall_stats && options.device == "dev");
  CHECK(options.membus_width == 40 && options.log_to == "out" && options.km_log_to == "mine");
  CHECK(options.trace == "file,net" && options.kontain_vendor_id && !options.core_on_err);
  CHECK(options.program == "prog" && options.argv == (Strings{"prog", "-V", "x"}));
  options = good({"-Vexec|mem", "p"});
  CHECK(options.verbose && options.verbose_tags == "exec|mem");
  CHECK(good({"--verbose=kvm", "p"}).verbose_tags == "kvm");
  CHECK(good({"-V", "kvm"}).program == "kvm");  // an optional value comes in the same word only
  CHECK(good({"-l", "f", "p"}).log_to == "f");
  CHECK(good({"-P32", "p"}).membus_width == 32 && good({"-P62", "p"}).membus_width == 62);
  CHECK(good({"-k", "a", "-k", "b", "p"}).km_log_to == "b");
  CHECK(good({"--", "--help"}).argv == Strings{"--help"});
  CHECK(good({"-"}).program == "-");
  CHECK(good({"p", "--", "-x"}).argv == (Strings{"p", "--", "-x"}));
  CHECK(good({""}).program.empty());  // refused when the program is looked for
}

void test_mistakes() {
  bad({}, "no program given");
  bad({"-V"}, "no program given");
  bad({"--"}, "no program given");
  bad({"--nonsense", "p"}, "unknown option '--nonsense'");
  bad({"--verb", "p"}, "did you mean --verbose?");
  bad({"--=x", "p"}, "unknown option '--=x'");
  bad({"---", "p"}, "unknown option '---'");
  bad({"-SX", "p"}, "unknown option '-X' in '-SX'");
  bad({"-A", "p"}, "unknown option '-A'");
  for (const char* width :
       {"31", "63", "0", "", "-1", "4x", "0x28", " 40", "99999999999999999999", "4294967336"}) {
    bad({std::string("-P=") + width, "p"}, "from 32 to 62");
    bad({std::string("--membus-width=") + width, "p"}, "from 32 to 62");
  }
  for (const char* variable : {"", "A", "=", "=b"})
    bad({std::string("--putenv=") + variable, "p"}, "NAME=VALUE");
  bad({"--copyenv==", "p"}, "prefixes");
  bad({"--copyenv=A", "--copyenv=B", "p"}, "once");
  bad({"--copyenv=A", "--putenv=B=1", "p"}, "exclude each other");
  bad({"--km-log-to=", "p"}, "not empty");
  bad({"--help=html", "p"}, "markdown");
  // An early option that prints wins over later nonsense, an early mistake over a later --help.
  CHECK(parse({"--version", "--nonsense"}).command == Command::kPrint);
  CHECK(parse({"--nonsense", "--version"}).command == Command::kUsageError);
  CHECK(parse({"p", "--version"}).command == Command::kRun);
}

void test_environment() {
  const Strings host = {"PATH=/bin", "A=1", "AB=2", "KM_X=3", "LONG=4"};
  CHECK(good({"p"}, host).envp == host);
  CHECK(good({"-e", "X=1", "--putenv=Y==2", "p"}, host).envp == (Strings{"X=1", "Y==2"}));
  CHECK(good({"--copyenv=A=KM_", "p"}, host).envp == (Strings{"PATH=/bin", "LONG=4"}));
  CHECK(good({"-EAB", "p"}, host).envp == (Strings{"PATH=/bin", "A=1", "KM_X=3", "LONG=4"}));
  Options options = good({"p"}, {"KM_VERBOSE=", "KM_LOGTO=/tmp/x", "KM_KILL_UNIMPL_SCALL="});
  CHECK(options.verbose && options.verbose_tags.empty() && options.km_log_to == "/tmp/x" &&
        options.kill_unimplemented);
  options = good({"-Vmem", "-knone", "p"}, {"KM_VERBOSE=exec", "KM_LOGTO=/tmp/x"});
  CHECK(options.verbose_tags == "mem" && options.km_log_to == "none" && !options.kill_unimplemented);
  options = good({"p"}, {"KM_VERBOSEX=1", "KM_VERBOSE"});
  CHECK(!options.verbose);
}

void test_carried() {
  Options options =
      good({"-S", "-Vmem", "-k", "log", "--putenv=A=1", "--wait-for-signal", "--log-to=x", "-P40", "p"});
  CHECK(options.carried ==
        (Strings{"--hcall-stats", "--verbose=mem", "--km-log-to=log", "--membus-width=40"}));
  // What is carried must parse to the same options.
  Strings again = options.carried;
  again.insert(again.end(), {"--argv0=zero", "--", "-p", "x"});
  Options next = good(again);
  CHECK(next.hcall_stats && next.verbose_tags == "mem" && next.km_log_to == "log" && next.membus_width == 40);
  CHECK(next.carried == options.carried && next.program == "-p" && next.argv == (Strings{"zero", "x"}));
  CHECK(next.from_exec && !options.from_exec);
  CHECK(good({"--argv0=", "--", "p"}).argv == Strings{""});
  bad({"--argv", "p"}, "unknown option");  // internal options are not proposed
}

void test_links(const Scratch& scratch) {
  std::string km = scratch.write("km", "monitor"), link = scratch.at("tool"), other = scratch.at("km-copy");
  scratch.write("km-copy", "monitor");
  if (symlink("km", link.c_str()) != 0) return CHECK(false), void();
  CHECK(payload_beside_link("tool", link) == link + ".km");
  CHECK(payload_beside_link(link, link) == link + ".km");
  CHECK(payload_beside_link("../x/tool", link) == link + ".km");
  CHECK(payload_beside_link(link, "/some/script") == link + ".km");  // #! line naming the link
  CHECK(payload_beside_link("tool", "/some/script").empty());
  CHECK(payload_beside_link("km", km).empty());
  CHECK(payload_beside_link("km", "/proc/self/exe").empty());
  CHECK(payload_beside_link("km-copy", other).empty());  // a file, not a link
  CHECK(payload_beside_link("shown-name", km).empty());  // exec -a
  CHECK(payload_beside_link("", km).empty());
  CHECK(payload_beside_link("tool", scratch.at("gone")).empty());

  int here = open(".", O_RDONLY | O_CLOEXEC);
  CHECK(chdir(scratch.at("").c_str()) == 0 && payload_beside_link("./tool", "./tool") == "./tool.km");
  CHECK(fchdir(here) == 0 && close(here) == 0);

  char name[] = "tool", first[] = "--help", second[] = "x", variable[] = "A=1";
  char* argv[] = {name, first, second, nullptr};
  char* envp[] = {variable, nullptr};
  Options options;
  std::string text;
  CHECK(read_command_line(argv, envp, link, &options, &text) == Command::kRun);
  CHECK(options.program == link + ".km" && options.argv == (Strings{"tool", "--help", "x"}));
  CHECK(read_command_line(argv, envp, km, &options, &text) == Command::kPrint);
  char* nothing[] = {nullptr};
  CHECK(read_command_line(nothing, nothing, km, &options, &text) == Command::kUsageError);
}

void test_texts() {
  CHECK(version_text().starts_with("Kontain Monitor version "));
  std::string help = help_text();
  size_t width = 0;
  for (size_t at = 0; at < help.size();) {
    size_t end = help.find('\n', at);
    width = std::max(width, end - at);
    at = end + 1;
  }
  CHECK_SEEN(width <= 110, std::to_string(width));
  for (const char* tag : log_tags()) CHECK_SEEN(help.find(tag) != std::string::npos, tag);
  for (const EnvironmentSpec& variable : environment_table())
    CHECK(help.find(variable.name) != std::string::npos);
  std::string document;
  if (FILE* file = fopen("docs/km-options.md", "re")) {
    char buffer[65536];
    document.assign(buffer, fread(buffer, 1, sizeof(buffer), file));
    fclose(file);
  }
  CHECK_SEEN(document == help_markdown(), "docs/km-options.md is not what `km --help=markdown` prints");
}

}  // namespace

int main() {
  Scratch scratch;
  test_table();
  test_handed();
  test_every_option();
  test_values();
  test_mistakes();
  test_environment();
  test_carried();
  test_links(scratch);
  test_texts();
  return check::finish("options_parse");
}
