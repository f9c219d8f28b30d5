// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cinttypes>
#include <cstring>

#include "native/base/log.h"
#include "native/loader/elf_read.h"
#include "native/loader/loader.h"
#include "native/machine/address_space.h"

namespace km {
namespace {

/// Descriptor closed at the end of a scope.
struct ScopedFd {
  int fd = -1;
  explicit ScopedFd(int number) : fd(number) {}
  ~ScopedFd() {
    if (fd >= 0) close(fd);
  }
  ScopedFd(const ScopedFd&) = delete;
  ScopedFd& operator=(const ScopedFd&) = delete;
};

/// Source of zeros for payload memory. A store into a file mapping whose file was cut short meanwhile would
/// be a SIGBUS of the monitor; read(2) into it is an EFAULT.
class Zeros {
 public:
  int clear(uint64_t start, uint64_t end) {
    if (start >= end) return 0;
    if (source_.fd < 0) source_.fd = memfd_create("zeros", MFD_CLOEXEC);
    if (source_.fd < 0 || ftruncate(source_.fd, kPageSize) != 0) return -errno;
    // In the window guest and monitor address are the same; [start, end) lies in one page mapped a moment
    // ago.
    ssize_t n = pread(source_.fd, reinterpret_cast<void*>(start), end - start, 0);
    if (n < 0) return -errno;
    return static_cast<uint64_t>(n) == end - start ? 0 : -EFAULT;
  }

 private:
  ScopedFd source_{-1};
};

bool map_one(AddressSpace& memory, const Mapping& mapping, int fd, int fixed, LoadError* error) {
  int flags = MAP_PRIVATE | fixed | (mapping.from_file ? 0 : MAP_ANONYMOUS);
  int64_t result = memory.mmap(mapping.start, mapping.end - mapping.start, static_cast<int>(mapping.prot),
                               flags, mapping.from_file ? fd : -1, mapping.offset);
  if (result >= 0) return true;
  int code = static_cast<int>(-result);
  return fail(error, code, "cannot be mapped at 0x%" PRIx64 "..0x%" PRIx64 ": %s", mapping.start, mapping.end,
              code == EEXIST ? "something else is there" : strerror(code));
}

bool map_plan(AddressSpace& memory, const LoadPlan& plan, int fd, int fixed, LoadError* error) {
  Zeros zeros;
  for (const Mapping& mapping : plan.mappings) {
    if (!map_one(memory, mapping, fd, fixed, error)) return false;
    int result = zeros.clear(mapping.zero_start, mapping.zero_end);
    if (result < 0) {
      return fail(error, -result, "cannot be loaded: clearing 0x%" PRIx64 ": %s", mapping.zero_start,
                  strerror(-result));
    }
    KM_TRACE(Tag::kLoad, "%" PRIx64 "-%" PRIx64 " prot %u %s offset %" PRIx64, mapping.start, mapping.end,
             mapping.prot, mapping.from_file ? "file" : "zero", mapping.offset);
  }
  return true;
}

/// Reserves room for an interpreter so that the address space chooses the place; returns the bias.
bool reserve_room(AddressSpace& memory, const ElfFile& file, uint64_t* bias, LoadError* error) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  uint64_t size = file.high() - file.low();
  int64_t result;
  uint64_t room = size;
  if (!file.header.position_independent) {
    result = memory.mmap(file.low(), size, PROT_NONE, kFlags | MAP_FIXED_NOREPLACE, -1, 0);
  } else {
    Window window = memory.window();
    if (file.align > window.end || size > window.end)
      return fail(error, ENOMEM, "does not fit a payload's address space");
    room = size + file.align - kPageSize;
    result = memory.mmap(0, room, PROT_NONE, kFlags, -1, 0);
  }
  if (result < 0) {
    return fail(error, static_cast<int>(-result), "finds no room in memory: %s",
                strerror(static_cast<int>(-result)));
  }
  uint64_t base = static_cast<uint64_t>(result);
  *bias = choose_bias(file, base);
  uint64_t start = file.low() + *bias;
  if (start > base) memory.munmap(base, start - base);
  if (base + room > start + size) memory.munmap(start + size, base + room - start - size);
  return true;
}

void unmap_holes(AddressSpace& memory, const LoadPlan& plan) {
  uint64_t at = plan.start;
  for (const Mapping& mapping : plan.mappings) {
    if (mapping.start > at) memory.munmap(at, mapping.start - at);
    at = mapping.end;
  }
}

bool load_interpreter(int program_fd, const ElfFile& program, AddressSpace& memory, Image* image,
                      LoadError* error) {
  std::string path;
  if (!read_interpreter_path(program_fd, program, &path, error)) return false;
  ElfFile file;
  ScopedFd fd(open_interpreter(path, &file, error));
  if (fd.fd < 0) return false;
  uint64_t bias = 0;
  LoadPlan plan;
  bool good = reserve_room(memory, file, &bias, error) &&
              plan_load(file, bias, memory.window(), &plan, error) &&
              map_plan(memory, plan, fd.fd, MAP_FIXED, error);
  if (!good) {
    error->message = "its interpreter '" + path + "' " + error->message;
    return false;
  }
  unmap_holes(memory, plan);
  image->entry = plan.entry;
  image->interpreter_base = plan.bias;
  return true;
}

bool load_program(const Program& program, AddressSpace& memory, Image* image, LoadError* error) {
  ElfFile file;
  if (!read_elf(program.fd, &file, error)) return false;
  LoadPlan plan;
  if (!plan_load(file, choose_bias(file, memory.window().start), memory.window(), &plan, error)) return false;
  if (!map_plan(memory, plan, program.fd, MAP_FIXED_NOREPLACE, error)) return false;
  image->entry = image->program_entry = plan.entry;
  image->phdr = plan.phdr;
  image->phnum = file.header.phnum;
  image->brk = plan.brk;
  image->executable_stack = file.executable_stack;
  memory.set_brk_start(plan.brk);
  if (file.interpreter_size == 0) return true;
  return load_interpreter(program.fd, file, memory, image, error);
}

}  // namespace

bool load_image(const Program& program, AddressSpace& memory, Image* image, LoadError* error) {
  *image = Image{};
  return load_program(program, memory, image, error) || fail_in(error, program.path);
}

bool check_program(const Program& program, Window window, LoadError* error) {
  ElfFile file;
  LoadPlan plan;
  if (!read_elf(program.fd, &file, error) ||
      !plan_load(file, choose_bias(file, window.start), window, &plan, error)) {
    return fail_in(error, program.path);
  }
  if (file.interpreter_size == 0) return true;
  std::string path;
  if (!read_interpreter_path(program.fd, file, &path, error)) return fail_in(error, program.path);
  ElfFile interpreter;
  ScopedFd fd(open_interpreter(path, &interpreter, error));
  if (fd.fd < 0) return fail_in(error, program.path);
  if (!plan_load(interpreter, choose_bias(interpreter, window.start), window, &plan, error)) {
    error->message = "its interpreter '" + path + "' " + error->message;
    return fail_in(error, program.path);
  }
  return true;
}

}  // namespace km
