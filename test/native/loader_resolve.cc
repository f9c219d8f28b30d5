// SPDX-License-Identifier: Apache-2.0
// resolve_program() against execve(2): the same file is executed natively (the interpreter is this program,
// which then prints its arguments) and resolved; arguments or errno must agree.
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/wait.h>

#include <random>
#include <vector>

#include "native/loader/loader.h"
#include "native/loader/shebang.h"
#include "test/native/check.h"
#include "test/native/elf_builder.h"
#include "test/native/scratch.h"

using namespace km;
using Strings = std::vector<std::string>;

namespace {

constexpr const char* kShowArguments = "KM_TEST_SHOW_ARGUMENTS";

std::string shown(const Strings& argv, const std::string& execfn) {
  std::string text;
  for (const std::string& argument : argv) text += "[" + argument + "]";
  return text + " as " + execfn;
}

/// Runs `file` natively; what it saw, or "errno N".
std::string run_natively(const std::string& file, const Strings& argv) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return "pipe";
  pid_t child = fork();
  if (child == 0) {
    std::vector<char*> pointers;
    for (const std::string& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
    pointers.push_back(nullptr);
    std::string variable = std::string(kShowArguments) + "=1";
    char* environment[] = {variable.data(), nullptr};
    dup2(pipe_fds[1], STDOUT_FILENO);
    execve(file.c_str(), pointers.data(), environment);
    dprintf(pipe_fds[1], "errno %d", errno);
    _exit(127);
  }
  close(pipe_fds[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(pipe_fds[0], buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<size_t>(n));
  close(pipe_fds[0]);
  waitpid(child, nullptr, 0);
  return text;
}

std::string resolve(const std::string& file, const Strings& argv, Program* program, LoadError* error) {
  if (!resolve_program(file, argv, program, error)) return "errno " + std::to_string(error->error);
  close(program->fd);
  return shown(program->argv, file);
}

/// Native and resolved must agree. Returns the message of a failure.
std::string compare(const std::string& what, const std::string& file,
                    const Strings& argv = {"zero", "a", "b c"}) {
  Program program;
  LoadError error;
  std::string native = run_natively(file, argv);
  std::string ours = resolve(file, argv, &program, &error);
  CHECK_SEEN(ours == native, what + "\n  native: " + native + "\n  ours:   " + ours + " " + error.message);
  CHECK_SEEN(error.message.find('\n') == std::string::npos, error.message);
  return error.message;
}

std::string replace_at(std::string text, const std::string& with) {
  for (size_t at; (at = text.find('@')) != text.npos;) text.replace(at, 1, with);
  return text;
}

void test_first_lines(const Scratch& scratch, const std::string& interpreter) {
  const std::string long_blank(200, ' '), fill(300, 'x');
  const Strings lines = {
      "#!@\n",
      "#!@",
      "#! @\n",
      "#!\t @ \t\n",
      "#!@ -x\n",
      "#!@ -x",
      "#!@  -x  y \t z  \n",
      "#!@ -x  ",
      "#!@   ",
      "#!",
      "#!\n",
      "#! \t \n",
      "#!   ",
      "#",
      "",
      "echo\n",
      "#!@\r\n",
      std::string("#!@\0 x\n", 8),
      std::string("#!@ a\0b\n", 8),
      std::string("#!\0@\n", 5),
      std::string("#! \0@\n", 6),
      "#!@ " + fill + "\n",
      "#!" + long_blank + "@ y\n",
      "#!" + long_blank + long_blank + "@\n",
      "#!/" + fill + "\n",
      "#!" + fill,
      "#!@" + long_blank + fill,
      "#!@ a\nmore\n",
      "#!./i\n",
      "#!i\n",
      "#!/\n",
      "#!/nonexistent/x\n",
      "#!.\n",
  };
  for (const std::string& line : lines) {
    std::string text = replace_at(line, interpreter);
    compare(text, scratch.write("script", text));
  }
  // Interpreter names that end exactly at, before and behind the limit of what Linux looks at.
  for (size_t length = 240; length <= 260; length++) {
    std::string name = interpreter;
    while (name.size() < length) name.insert(0, "/");
    compare(name + " newline", scratch.write("script", "#!" + name + "\n"));
    compare(name + " blank", scratch.write("script", "#!" + name + " -x\n"));
    compare(name + " end", scratch.write("script", "#!" + name));
  }
}

void test_random_lines(const Scratch& scratch, const std::string& interpreter) {
  std::mt19937 random(42);
  const std::string alphabet("  \t\n@xy\0", 9);
  for (int i = 0; i < 300; i++) {
    std::string text = "#!";
    for (size_t n = random() % 9; n > 0; n--) {
      char c = alphabet[random() % alphabet.size()];
      text += c == '@' || (c == 'x' && n % 2) ? interpreter : std::string(1, c);
      if (random() % 40 == 0) text += std::string(random() % 300, " \tz"[random() % 3]);
    }
    compare(text, scratch.write("script", text));
  }
}

void test_chains(const Scratch& scratch, const std::string& interpreter) {
  std::string next = interpreter;
  for (int depth = 1; depth <= 8; depth++) {
    std::string path =
        scratch.write("chain" + std::to_string(depth), "#!" + next + " -" + std::to_string(depth) + "\n");
    std::string message = compare("chain of " + std::to_string(depth), path);
    CHECK_SEEN((depth > kMaxScriptDepth) == (message.find("scripts") != message.npos), message);
    next = path;
  }
  scratch.write("self", "#!" + scratch.at("self") + "\n");
  compare("its own interpreter", scratch.at("self"));
}

void test_files(const Scratch& scratch, const std::string& interpreter) {
  CHECK(compare("missing", scratch.at("missing")).find("does not exist") != std::string::npos);
  CHECK(compare("directory", scratch.at("")).find("is a directory") != std::string::npos);
  CHECK(compare("below a file", interpreter + "/x").find("not a directory") != std::string::npos);
  CHECK(compare("not executable", scratch.write("plain", "#!/bin/sh\n", 0644)).find("chmod +x") !=
        std::string::npos);
  std::string script = scratch.write("script", "#!" + scratch.at("plain") + "\n");
  CHECK(compare("interpreter not executable", script).find("interpreter '" + scratch.at("plain")) !=
        std::string::npos);
  CHECK(compare("empty", scratch.write("empty", "")).find("is empty") != std::string::npos);
  CHECK(compare("text", scratch.write("text", "hello\n")).find("neither an ELF") != std::string::npos);
  CHECK(compare("no name", "").find("does not exist") != std::string::npos);
  CHECK(compare("long name", "/tmp/" + std::string(300, 'n')).size() > 0);
  CHECK(compare("longer name", "/" + std::string(5000, 'n')).size() > 0);
  mkfifo(scratch.at("fifo").c_str(), 0755);
  CHECK(compare("FIFO", scratch.at("fifo")).find("not a regular file") != std::string::npos);
  compare("device", "/dev/null");
  (void)!symlink("loop", scratch.at("loop").c_str());
  CHECK(compare("symbolic link to itself", scratch.at("loop")).find("too many symbolic links") !=
        std::string::npos);
  (void)!symlink(interpreter.c_str(), scratch.at("link").c_str());
  compare("symbolic link", scratch.at("link"));
  compare("argc 1", scratch.at("link"), {"only"});
  for (const char* bad : {"ET_REL", "32-bit"}) {
    ElfBuilder elf = ElfBuilder::program(bad[0] == 'E' ? ET_REL : ET_EXEC);
    if (bad[0] == '3') elf.ehdr.e_ident[EI_CLASS] = ELFCLASS32, elf.ehdr.e_machine = EM_ARM;
    std::vector<uint8_t> bytes = elf.bytes();
    CHECK(compare(bad, scratch.write_bytes("elf", bytes.data(), bytes.size())).size() > 0);
  }
}

void test_paths(const Scratch& scratch, const std::string& interpreter) {
  Program program;
  LoadError error;
  CHECK(resolve_program(scratch.at("link"), {"x"}, &program, &error));
  CHECK_SEEN(program.path == interpreter, program.path);
  CHECK(fcntl(program.fd, F_GETFD) == FD_CLOEXEC);
  close(program.fd);
  CHECK(resolve_program("./link", {}, &program, &error));  // no argv at all: Linux makes argc 1
  CHECK(program.argv == Strings{""} && program.path == interpreter);
  close(program.fd);
}

/// Executable but not readable: Linux runs it, km cannot.
void test_unreadable(const Scratch& scratch, const std::string& interpreter) {
  if (geteuid() != 0) return;
  std::string path = scratch.write("secret", "#!" + interpreter + "\n", 0711);
  chmod(scratch.at("").c_str(), 0755);
  pid_t child = fork();
  if (child == 0) {
    Program program;
    LoadError error;
    bool dropped = setgroups(0, nullptr) == 0 && setresgid(65534, 65534, 65534) == 0 &&
                   setresuid(65534, 65534, 65534) == 0;
    bool refused = !resolve_program(path, {"x"}, &program, &error) && error.error == EACCES &&
                   error.message.find("not readable") != std::string::npos;
    _exit(dropped && refused ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  CHECK(status == 0);
}

void test_find_command(const Scratch& scratch) {
  mkdir(scratch.at("bin").c_str(), 0755);
  scratch.write("bin/tool", "x");
  scratch.write("bin/data", "x", 0644);
  mkdir(scratch.at("bin/folder").c_str(), 0755);
  std::string path = "/nonexistent:" + scratch.at("bin") + ":/bin";
  CHECK(find_command("tool", path.c_str()) == scratch.at("bin/tool"));
  CHECK(find_command("./tool", path.c_str()) == "./tool");
  CHECK(find_command("data", path.c_str()) == "data");
  CHECK(find_command("folder", path.c_str()) == "folder");
  CHECK(find_command("sh", path.c_str()) == "/bin/sh");
  CHECK(find_command("sh", nullptr) == "/bin/sh");
  CHECK(find_command("", path.c_str()) == "");
  CHECK(find_command("link", ":/bin") == "link");  // an empty entry is the current directory
}

void test_check_program(const Scratch& scratch, const std::string& self) {
  constexpr Window kWindow{0x200000, 0x7fffe00000};
  auto check_bytes = [&](const ElfBuilder& elf, LoadError* error) {
    std::vector<uint8_t> bytes = elf.bytes();
    Program program;
    if (!resolve_program(scratch.write_bytes("elf", bytes.data(), bytes.size()), {"x"}, &program, error))
      return false;
    bool good = check_program(program, kWindow, error);
    close(program.fd);
    return good;
  };
  LoadError error;
  CHECK(check_bytes(ElfBuilder::program(), &error));
  ElfBuilder elf = ElfBuilder::program();
  struct {
    std::string interpreter;
    int error;
  } const cases[] = {{"/nonexistent/ld.so", ENOENT}, {scratch.at("text"), EIO},
                     {scratch.at("empty"), EIO}, {scratch.at("plain"), EACCES},
                     {scratch.at(""), EACCES},       {self, 0}};
  for (const auto& test : cases) {
    elf.interpreter = test.interpreter + std::string(1, '\0');
    error = {};
    CHECK(check_bytes(elf, &error) == (test.error == 0));
    CHECK_SEEN(error.error == test.error, error.message);
    CHECK_SEEN(
        test.error == 0 || error.message.find("its interpreter '" + test.interpreter) != std::string::npos,
        error.message);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (getenv(kShowArguments) != nullptr) {
    std::string text = shown(Strings(argv, argv + argc), reinterpret_cast<const char*>(getauxval(AT_EXECFN)));
    return write(STDOUT_FILENO, text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1;
  }
  Scratch scratch;
  if (chdir(scratch.at("").c_str()) != 0) return 2;
  char self[4096] = {};
  if (readlink("/proc/self/exe", self, sizeof(self) - 1) <= 0) return 2;
  std::string copy =
      std::string("cp ") + self + " " + scratch.at("i");  // a short path, and one nobody replaces
  if (system(copy.c_str()) != 0) return 2;
  std::string interpreter = scratch.at("i");
  test_first_lines(scratch, interpreter);
  test_random_lines(scratch, interpreter);
  test_chains(scratch, interpreter);
  test_files(scratch, interpreter);
  test_paths(scratch, interpreter);
  test_unreadable(scratch, interpreter);
  test_find_command(scratch);
  test_check_program(scratch, interpreter);
  return check::finish("loader_resolve");
}
