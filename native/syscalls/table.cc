// SPDX-License-Identifier: Apache-2.0
// table.def made into data at compile time.
#include <errno.h>

#include "native/syscalls/internal.h"
#include "native/syscalls/spec.h"

namespace km {
namespace {

constexpr CallSpec make(const char* name, Class cls, uint32_t groups, std::string_view args, Effect effect, int error,
                        SyscallHandler handler) {
  CallSpec call;
  call.name = name;
  call.handler = handler;
  call.cls = cls;
  call.on_host = cls == Class::kForward || cls == Class::kHandle;
  call.effect = effect;
  call.error = static_cast<int16_t>(error);
  call.groups = groups;
  SpecParser::parse(call, args);
  return call;
}

constexpr std::array<CallSpec, kCallCount> build() {
  std::array<CallSpec, kCallCount> calls;
#define FORWARD(nr, name, groups, args, effect, note) calls[nr] = make(#name, Class::kForward, groups, args, effect, 0, nullptr);
#define HANDLE(nr, name, groups, args, effect, note) calls[nr] = make(#name, Class::kHandle, groups, args, effect, 0, sys_##name);
#define ANSWER(nr, name, ...) HANDLE(nr, name, __VA_ARGS__) calls[nr].on_host = false;
#define REFUSE(nr, name, groups, error, args, note) calls[nr] = make(#name, Class::kRefuse, groups, args, kNone, error, nullptr);
#define QUIET(nr, name, groups, error, args, note) calls[nr] = make(#name, Class::kQuiet, groups, args, kNone, error, nullptr);
#define ABSENT(nr, name, groups, note) calls[nr] = make(#name, Class::kAbsent, groups, "", kNone, ENOSYS, nullptr);
#include "native/syscalls/table.def"
#undef FORWARD
#undef HANDLE
#undef ANSWER
#undef REFUSE
#undef QUIET
#undef ABSENT
  return calls;
}

}  // namespace

constinit const std::array<CallSpec, kCallCount> kCalls = build();

uint64_t argument_length(const CallSpec& call, unsigned index, const uint64_t args[6]) {
  const ArgSpec& spec = call.args[index];
  if (spec.arg < 0) return spec.add;
  uint64_t value = argument_value(call.args[spec.arg], args[spec.arg]);
  if (call.args[spec.arg].kind == Arg::kInt && static_cast<int>(value) < 0) return 0;  // EINVAL, says the kernel
  uint64_t product = 0;
  if (__builtin_mul_overflow(value, uint64_t{spec.mul}, &product)) return UINT64_MAX;
  uint64_t length = product / spec.div;
  return length > UINT64_MAX - spec.add ? UINT64_MAX : length + spec.add;
}

const char* syscall_name(uint64_t nr) { return nr < kCallCount ? kCalls[nr].name : nullptr; }

}  // namespace km
