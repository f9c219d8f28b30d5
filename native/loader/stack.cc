// SPDX-License-Identifier: Apache-2.0
// The initial stack, laid out as Linux's fs/binfmt_elf.c does (man 3 getauxval, man 2 execve). From the top
// down: a NULL word, the name of the executed file, environment strings, argument strings, platform name, 16
// random bytes, auxv, envp, argv, argc.
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "native/loader/elf_file.h"
#include "native/loader/loader.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

namespace km {
namespace {

constexpr uint64_t kMaxString = 32 * kPageSize;  // MAX_ARG_STRLEN, with the NUL
constexpr uint64_t kMinTotal = 128 * 1024;       // ARG_MAX: always granted
constexpr uint64_t kMaxTotal = 6 * 1024 * 1024;  // three quarters of the default stack
constexpr uint64_t kHwcap2Fsgsbase = 2;          // HWCAP2_FSGSBASE: rdfsbase & co. work at CPL 3
constexpr char kPlatform[] = "x86_64";
constexpr size_t kRandomSize = 16;

using Strings = std::vector<std::string>;

bool add_sizes(const Strings& strings, const char* what, uint64_t* total, LoadError* error) {
  for (const std::string& text : strings) {
    if (text.size() + 1 > kMaxString) {
      return fail(error, E2BIG, "an %s of %zu bytes is too long; Linux takes at most %zu in one", what,
                  text.size(), static_cast<size_t>(kMaxString - 1));
    }
    *total += text.size() + 1 + sizeof(uint64_t);
  }
  return true;
}

/// Linux's limit on arguments and environment: a quarter of the stack, between kMinTotal and kMaxTotal.
bool check_total(const StackInput& input, LoadError* error) {
  uint64_t limit = std::max(std::min(input.stack_size / 4, kMaxTotal), kMinTotal);
  uint64_t total = input.execfn.size() + 1;
  if (!add_sizes(*input.argv, "argument", &total, error) ||
      !add_sizes(*input.envp, "environment string", &total, error)) {
    return false;
  }
  if (total > limit) {
    return fail(error, E2BIG,
                "arguments and environment need %zu bytes, %zu are allowed (a quarter of the stack limit, at "
                "most 6 MiB); "
                "pass less, or in a file",
                static_cast<size_t>(total), static_cast<size_t>(limit));
  }
  // The vectors and the rest need less than a page more than what `total` counts.
  if (total + 2 * kPageSize <= input.stack_size) return true;
  return fail(error, E2BIG, "a stack of %zu bytes is too small for arguments and environment of %zu",
              static_cast<size_t>(input.stack_size), static_cast<size_t>(total));
}

/// Writes downwards into the mapped stack. The window is identity-mapped, so a payload address is a pointer;
/// check_total() made sure everything fits.
class StackWriter {
 public:
  explicit StackWriter(uint64_t top) : at_(top) {}

  uint64_t push_bytes(const void* bytes, size_t size) {
    at_ -= size;
    memcpy(reinterpret_cast<void*>(at_), bytes, size);
    return at_;
  }
  uint64_t push_string(const std::string& text) { return push_bytes(text.c_str(), text.size() + 1); }
  /// Addresses in the order of `strings`; the first string lies lowest, as programs that rewrite argv expect.
  std::vector<uint64_t> push_strings(const Strings& strings) {
    std::vector<uint64_t> addresses(strings.size());
    for (size_t i = strings.size(); i > 0; i--) addresses[i - 1] = push_string(strings[i - 1]);
    return addresses;
  }
  void align(uint64_t bytes) { at_ &= ~(bytes - 1); }
  uint64_t at() const { return at_; }

 private:
  uint64_t at_;
};

struct AuxAddresses {
  uint64_t execfn, platform, random;
};

/// AT_HWCAP is CPUID.1:EDX on x86. Not getauxval(AT_HWCAP): glibc answers that with bits of its own.
uint64_t hardware_capabilities() {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) ? edx : 0;
}

std::vector<uint64_t> make_auxv(const StackInput& input, const AuxAddresses& at) {
  std::vector<uint64_t> auxv;
  auto add = [&auxv](uint64_t type, uint64_t value) { auxv.insert(auxv.end(), {type, value}); };
  uint64_t min_signal_stack = getauxval(AT_MINSIGSTKSZ);
  if (input.vdso_base != 0) add(AT_SYSINFO_EHDR, input.vdso_base);
  if (min_signal_stack != 0) add(AT_MINSIGSTKSZ, min_signal_stack);
  add(AT_HWCAP, hardware_capabilities());
  add(AT_PAGESZ, kPageSize);
  add(AT_CLKTCK, static_cast<uint64_t>(sysconf(_SC_CLK_TCK)));
  add(AT_PHDR, input.image->phdr);
  add(AT_PHENT, kProgramHeaderSize);
  add(AT_PHNUM, input.image->phnum);
  add(AT_BASE, input.image->interpreter_base);
  add(AT_FLAGS, 0);
  add(AT_ENTRY, input.image->program_entry);
  add(AT_UID, getuid());
  add(AT_EUID, geteuid());
  add(AT_GID, getgid());
  add(AT_EGID, getegid());
  add(AT_SECURE, 0);
  add(AT_RANDOM, at.random);
  add(AT_HWCAP2, getauxval(AT_HWCAP2) & kHwcap2Fsgsbase);
  add(AT_EXECFN, at.execfn);
  add(AT_PLATFORM, at.platform);
  add(AT_NULL, 0);
  return auxv;
}

/// argc, argv[], NULL, envp[], NULL, auxv: the words at the initial rsp.
std::vector<uint64_t> make_words(const std::vector<uint64_t>& argv, const std::vector<uint64_t>& envp,
                                 const std::vector<uint64_t>& auxv) {
  std::vector<uint64_t> words;
  words.reserve(3 + argv.size() + envp.size() + auxv.size());
  words.push_back(argv.size());
  words.insert(words.end(), argv.begin(), argv.end());
  words.push_back(0);
  words.insert(words.end(), envp.begin(), envp.end());
  words.push_back(0);
  words.insert(words.end(), auxv.begin(), auxv.end());
  return words;
}

}  // namespace

bool build_stack(const StackInput& input, uint64_t* rsp, std::vector<uint64_t>* auxv, LoadError* error) {
  if (!check_total(input, error)) return false;
  uint8_t random[kRandomSize];
  if (getrandom(random, sizeof(random), 0) != static_cast<ssize_t>(sizeof(random))) {
    return fail(error, errno, "the host gives no random bytes for AT_RANDOM: %s", strerror(errno));
  }
  StackWriter stack(input.stack_top);
  uint64_t null_word = 0;
  AuxAddresses at;
  stack.push_bytes(&null_word, sizeof(null_word));
  at.execfn = stack.push_string(input.execfn);
  std::vector<uint64_t> envp = stack.push_strings(*input.envp);
  std::vector<uint64_t> argv = stack.push_strings(*input.argv);
  stack.align(16);
  at.platform = stack.push_bytes(kPlatform, sizeof(kPlatform));
  at.random = stack.push_bytes(random, sizeof(random));
  *auxv = make_auxv(input, at);
  std::vector<uint64_t> words = make_words(argv, envp, *auxv);
  uint64_t size = words.size() * sizeof(uint64_t);
  *rsp = (stack.at() - size) & ~15ull;  // System V ABI: rsp is 16-byte aligned at entry
  memcpy(reinterpret_cast<void*>(*rsp), words.data(), size);
  return true;
}

}  // namespace km
