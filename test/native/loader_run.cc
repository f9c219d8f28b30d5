// SPDX-License-Identifier: Apache-2.0
// The whole loader without a virtual machine: a forked child maps a program and its stack into the window,
// then jumps to it on the bare processor. Output and status must be those of the program started by Linux.
#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "native/loader/loader.h"
#include "test/native/address_space_fixture.h"
#include "test/native/elf_builder.h"
#include "test/native/scratch.h"

using namespace km;
using Strings = std::vector<std::string>;

namespace {

struct Outcome {
  int status = -1;
  std::string output;
};

[[noreturn]] void jump(uint64_t rip, uint64_t rsp) {
  // What execve(2) leaves in the registers: rsp, rip and zeros. Nothing of this function is used afterwards.
  asm volatile(
      "mov %1, %%rsp\n\t"
      "xor %%edx, %%edx\n\t"
      "xor %%ebp, %%ebp\n\t"
      "jmp *%0"
      :
      : "a"(rip), "c"(rsp)
      : "memory");
  __builtin_unreachable();
}

/// In the child: loads and becomes the program.
[[noreturn]] void become(const std::string& file, const Strings& argv, const Strings& envp) {
  constexpr uint64_t kStack = 8 << 20;
  km_test::RecordingMachine machine;
  AddressSpace& memory = *new AddressSpace(machine);
  Program program;
  Image image;
  LoadError error;
  uint64_t rsp = 0;
  std::vector<uint64_t> auxv;
  int64_t top = memory.map_stack(kStack);
  bool good =
      top > 0 && resolve_program(file, argv, &program, &error) && load_image(program, memory, &image, &error);
  if (good) {
    StackInput input{
        &program.argv, &envp, file, &image, getauxval(AT_SYSINFO_EHDR), static_cast<uint64_t>(top), kStack};
    good = build_stack(input, &rsp, &auxv, &error);
  }
  machine.check_host = false;
  std::string trouble = good ? km_test::compare_views(memory, machine, true) : error.message;
  if (machine.bad_ranges != 0 || machine.premature != 0) trouble += " rights asked for too early";
  if (!trouble.empty()) {
    dprintf(STDOUT_FILENO, "load: %s\n", trouble.c_str());
    _exit(99);
  }
  close(program.fd);
  jump(image.entry, rsp);
}

Outcome run(const std::string& file, const Strings& argv, const Strings& envp, bool natively) {
  int pipe_fds[2];
  Outcome outcome;
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return outcome;
  pid_t child = fork();
  if (child == 0) {
    alarm(60);
    dup2(pipe_fds[1], STDOUT_FILENO);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    if (!natively) become(file, argv, envp);
    std::vector<char*> arguments, environment;
    for (const std::string& text : argv) arguments.push_back(const_cast<char*>(text.c_str()));
    for (const std::string& text : envp) environment.push_back(const_cast<char*>(text.c_str()));
    arguments.push_back(nullptr);
    environment.push_back(nullptr);
    execve(file.c_str(), arguments.data(), environment.data());
    _exit(127);
  }
  close(pipe_fds[1]);
  char buffer[4096];
  for (ssize_t n; (n = read(pipe_fds[0], buffer, sizeof(buffer))) > 0;) {
    outcome.output.append(buffer, static_cast<size_t>(n));
  }
  close(pipe_fds[0]);
  waitpid(child, &outcome.status, 0);
  return outcome;
}

bool compare(const char* what, const std::string& file, const Strings& argv,
             const Strings& envp = {"A=1", "B=two"}) {
  Outcome native = run(file, argv, envp, true);
  Outcome loaded = run(file, argv, envp, false);
  bool same = native.status == loaded.status && native.output == loaded.output;
  CHECK(same && native.output.size() > 0);
  if (!same) {
    printf("%s\n--- native, status %x\n%s--- loaded, status %x\n%s", what, native.status,
           native.output.c_str(), loaded.status, loaded.output.c_str());
  }
  return same;
}

struct Flavour {
  const char* name;
  const char* compiler;  ///< with its flags
};
constexpr Flavour kFlavours[] = {
    {"dynamic", "gcc"},
    {"dynamic at fixed addresses", "gcc -no-pie"},
    {"static", "gcc -static"},
    {"static PIE", "gcc -static-pie"},
    {"static, no separate code", "gcc -static -Wl,-z,noseparate-code"},
    {"2 MiB pages", "gcc -Wl,-z,max-page-size=0x200000"},
    {"no RELRO, no NX stack", "gcc -Wl,-z,norelro,-z,execstack"},
    {"linked at 2 MiB", "gcc -static -no-pie -Wl,-Ttext-segment=0x200000"},
    {"musl", "musl-gcc"},
    {"static musl", "musl-gcc -static"},
};

void test_flavours(const Scratch& scratch) {
  int built = 0;
  for (const Flavour& flavour : kFlavours) {
    std::string program = scratch.at("probe");
    std::string command =
        std::string(flavour.compiler) + " -O1 -o " + program + " test/native/probe.c 2>/dev/null";
    unlink(program.c_str());
    if (system(command.c_str()) != 0) {
      printf("SKIPPED %s: cannot run %s\n", flavour.name, flavour.compiler);
      continue;
    }
    built++;
    compare(flavour.name, program, {"zero", "", "two words", std::string(5000, 'x')});
    compare(flavour.name, program, {"even"}, {});
    compare(flavour.name, program, {"a", "b"}, {"ONE=1"});
    compare(flavour.name, scratch.write("script", "#!" + program + " -arg\n"), {"script", "x"});
  }
  CHECK(built > 0);
}

void test_commands() {
  compare("echo", "/bin/echo", {"echo", "hello"});
  compare("sh", "/bin/sh", {"sh", "-c", "echo $0 $# $A; exit 5", "name", "x"});
  compare("bash", "/bin/bash", {"bash", "-c", "x=$((6*7)); echo $x; type echo"});
  if (access("/usr/bin/python3", X_OK) == 0) {
    compare("python", "/usr/bin/python3",
            {"python3", "-c", "import sys, json; print(json.dumps(sys.argv))", "x"});
  }
}

/// Loads bytes as a program in a child; its exit status 0 and what it printed, or the loader's line.
Outcome load_bytes(const Scratch& scratch, const std::vector<uint8_t>& bytes) {
  return run(scratch.write_bytes("elf", bytes.data(), bytes.size()), {"elf"}, {}, false);
}

/// mov edi, `status`; mov eax, 60; syscall
std::vector<uint8_t> exit_program(ElfBuilder elf, uint8_t status, size_t at = 0x1000) {
  std::vector<uint8_t> bytes = elf.bytes();
  const uint8_t code[] = {0xbf, status, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05};
  memcpy(bytes.data() + at, code, sizeof(code));
  return bytes;
}

void test_made_files(const Scratch& scratch) {
  ElfBuilder elf = ElfBuilder::program();
  Outcome outcome = load_bytes(scratch, exit_program(elf, 9));
  CHECK(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 9);
  // A terabyte of bss is refused, 256 GiB of address space are not (unless the host's overcommit rules say
  // so).
  elf.phdrs[1].p_memsz = 1ull << 40;
  outcome = load_bytes(scratch, exit_program(elf, 9));
  CHECK(WEXITSTATUS(outcome.status) == 99 && outcome.output.find("outside") != std::string::npos);
  // The last file page ends in zeros although the file has other bytes there.
  elf = ElfBuilder::program();
  std::vector<uint8_t> bytes = elf.bytes();
  memset(bytes.data() + 0x2234, 0xff, 0x3000 - 0x2234);
  // movzx edi, byte [0x402234]; mov eax, 60; syscall
  const uint8_t code[] = {0x0f, 0xb6, 0x3c, 0x25, 0x34, 0x22, 0x40, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05};
  memcpy(bytes.data() + 0x1000, code, sizeof(code));
  outcome = load_bytes(scratch, bytes);
  CHECK(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 0);
  // A read-only segment keeps the bytes of the file.
  bytes[sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_flags)] = PF_R;
  outcome = load_bytes(scratch, bytes);
  CHECK(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 0xff);
  // Linked into the stack: refused, the stack stays.
  elf = ElfBuilder::program(ET_EXEC, km_test::kWindow.end - 0x10000);
  outcome = load_bytes(scratch, exit_program(elf, 9));
  CHECK(WEXITSTATUS(outcome.status) == 99 &&
        outcome.output.find("something else is there") != std::string::npos);
  // An interpreter at fixed addresses, beside the program and on top of it.
  ElfBuilder interpreter = ElfBuilder::program(ET_EXEC, 0x10000000);
  bytes = exit_program(interpreter, 11);
  std::string path = scratch.write_bytes("interpreter", bytes.data(), bytes.size());
  elf = ElfBuilder::program();
  elf.interpreter = path + std::string(1, '\0');
  outcome = load_bytes(scratch, exit_program(elf, 9));
  CHECK(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 11);
  bytes = exit_program(ElfBuilder::program(), 11);
  scratch.write_bytes("interpreter", bytes.data(), bytes.size());
  outcome = load_bytes(scratch, exit_program(elf, 9));
  CHECK(WEXITSTATUS(outcome.status) == 99 && outcome.output.find("its interpreter") != std::string::npos);
  // A PIE interpreter with a hole and an alignment: its hole is not left mapped (compare_views sees the
  // tree).
  ElfBuilder holes = ElfBuilder::program(ET_DYN, 0);
  holes.phdrs[1].p_vaddr = 0x802000;
  holes.phdrs[1].p_align = 4 << 20;
  bytes = exit_program(holes, 12);
  scratch.write_bytes("interpreter", bytes.data(), bytes.size());
  outcome = load_bytes(scratch, exit_program(elf, 9));
  CHECK(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 12);
}

/// Cuts the file when its data segment has just been mapped: the worst moment, before its bss is cleared.
class CuttingMachine : public km_test::RecordingMachine {
 public:
  explicit CuttingMachine(const std::string& path) : path_(path) { check_host = false; }
  int protect(uint64_t addr, uint64_t len, uint32_t access) override {
    if ((access & kWrite) && truncate(path_.c_str(), 0x2000) != 0) abort();
    return RecordingMachine::protect(addr, len, access);
  }

 private:
  std::string path_;
};

/// Must be an error with a line, not a SIGBUS of the monitor.
void test_shrinking_file(const Scratch& scratch) {
  std::vector<uint8_t> bytes = exit_program(ElfBuilder::program(), 9);
  std::string path = scratch.write_bytes("shrinking", bytes.data(), bytes.size());
  pid_t child = fork();
  if (child == 0) {
    CuttingMachine machine(path);
    AddressSpace memory(machine);
    Program program;
    Image image;
    LoadError error;
    bool resolved = resolve_program(path, {"x"}, &program, &error);
    bool loaded = load_image(program, memory, &image, &error);
    _exit(resolved && !loaded && error.error == EFAULT && error.message.find("clearing") != std::string::npos
              ? 0
              : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  CHECK(status == 0);
}

bool stack_error(const Strings& argv, const Strings& envp, uint64_t size, std::string* message) {
  Image image;
  std::vector<uint8_t> stack(size + 16);
  uint64_t top = (reinterpret_cast<uint64_t>(stack.data()) + size) & ~15ull;
  StackInput input{&argv, &envp, "file", &image, 0, top, size};
  uint64_t rsp = 0;
  std::vector<uint64_t> auxv;
  LoadError error;
  bool good = build_stack(input, &rsp, &auxv, &error);
  *message = error.message;
  CHECK(good ? rsp >= reinterpret_cast<uint64_t>(stack.data()) && rsp < top && rsp % 16 == 0
             : error.error == E2BIG);
  return !good;
}

void test_stack_limits() {
  constexpr uint64_t kMany = 8 << 20;
  std::string message;
  CHECK(!stack_error({"a"}, {}, kMany, &message));
  CHECK(!stack_error({"a", std::string(131071, 'x')}, {}, kMany, &message));
  CHECK(stack_error({"a", std::string(131072, 'x')}, {}, kMany, &message));
  CHECK(message.find("argument of 131072 bytes") != std::string::npos);
  CHECK(stack_error({"a"}, {"E=" + std::string(131072, 'x')}, kMany, &message));
  CHECK(message.find("environment string") != std::string::npos);
  CHECK(stack_error(Strings(10 * 1024, std::string(1023, 'x')), {}, 64 << 20, &message));  // 10 MB
  CHECK(message.find("6 MiB") != std::string::npos && message.find('\n') == std::string::npos);
  CHECK(!stack_error(Strings(2000, std::string(1000, 'x')), {}, kMany, &message));
  CHECK(stack_error(Strings(2100, std::string(1000, 'x')), {}, kMany, &message));
  CHECK(stack_error(Strings(300000, ""), {}, kMany, &message));
  CHECK(stack_error(Strings(120, std::string(1000, 'x')), {}, 64 << 10, &message));
  CHECK(!stack_error(Strings(120, std::string(1000, 'x')), {}, 256 << 10, &message));
}

}  // namespace

int main() {
  // This program must not lie where the payload goes, and vDSO and stack must not move between runs being
  // compared.
  if (reinterpret_cast<uint64_t>(&main) < km_test::kWindow.end) return puts("linked inside the window"), 2;
  Scratch scratch;
  test_commands();
  test_flavours(scratch);
  test_made_files(scratch);
  test_shrinking_file(scratch);
  test_stack_limits();
  return km_test::finish();
}
