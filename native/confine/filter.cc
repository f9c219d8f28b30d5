// SPDX-License-Identifier: Apache-2.0
#include "native/confine/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <cstddef>
#include <deque>
#include <utility>

#include "kkm/include/uapi/kkm.h"
#include "native/driver/device.h"
#include "native/syscalls/allowed.h"
#include "native/syscalls/ioctl_table.h"
#include "native/syscalls/spec.h"

namespace km::confine {
namespace {

// Sizes as C has them (native/driver/device.h).
constexpr uint32_t kGetSupportedCpuid = 0xC008AE05, kSetCpuid2 = 0x4008AE90, kSetMsrs = 0x4008AE89;
constexpr uint32_t kGetXsave2 = _IOR(KVMIO, 0xcf, XsaveArea);
constexpr uint32_t kX32Bit = 0x40000000;  // __X32_SYSCALL_BIT

/// Which argument of a call is looked at, and how.
enum class Check : uint8_t { kNone, kIoctl, kPrctl, kFamily, kNotNewUser, kAddFilter };

struct CheckedCall {
  int nr;
  Check check;
};
struct FailedCall {
  int nr;
  int error;
};

constexpr OwnCall kOwnCalls[] = {
#define OWN(call, when, who) {#call, SYS_##call, When::when},
#define CHECK(...)
#define FAIL(...)
#define DEVICE(...)
#include "native/confine/own.def"
#undef OWN
#undef DEVICE
};

constexpr DeviceRequest kDeviceRequests[] = {
#define OWN(...)
#define DEVICE(request, when, who) {#request, static_cast<uint32_t>(request), When::when},
#include "native/confine/own.def"
#undef DEVICE
#undef CHECK
};

constexpr CheckedCall kChecked[] = {
#define CHECK(call, kind, why) {SYS_##call, Check::kind},
#define DEVICE(...)
#include "native/confine/own.def"
#undef CHECK
#undef FAIL
};

constexpr FailedCall kFailed[] = {
#define CHECK(...)
#define FAIL(call, error, why) {SYS_##call, error},
#include "native/confine/own.def"
#undef OWN
#undef CHECK
#undef FAIL
#undef DEVICE
};

/// Low half of an argument; all that is checked are numbers the kernel takes as 32 bits (clone: lower_32_bits()).
constexpr uint32_t argument(unsigned index) { return offsetof(seccomp_data, args) + index * sizeof(uint64_t); }

Check check_of(int nr) {
  for (const CheckedCall& call : kChecked)
    if (call.nr == nr) return call.check;
  return Check::kNone;
}

bool is_allowed(int nr) {
  if (kCalls[static_cast<size_t>(nr)].on_host) return true;
  for (const OwnCall& call : kOwnCalls)
    if (call.nr == nr) return true;
  return false;
}

Code ioctl_code(const Code& allow, const Code& forbid) {
  std::vector<uint32_t> requests;
  for (const IoctlCommand& command : ioctl_commands()) requests.push_back(command.request);
  for (const DeviceRequest& request : kDeviceRequests) requests.push_back(request.request);
  // First what each exit of the payload costs: the kernel remembers plain verdicts, but not those on arguments.
  return load(argument(1), if_equal(KVM_RUN, allow, if_one_of(requests, allow, forbid)));
}

Code prctl_code(const Code& allow, const Code& forbid) {
  std::vector<uint32_t> options;
  for (int option : prctl_options()) options.push_back(static_cast<uint32_t>(option));
  return load(argument(0), if_equal(kProbeOption, verdict(SECCOMP_RET_ERRNO | kProbeAnswer),
                                    if_one_of(options, allow, forbid)));
}

Code family_code(const Code& allow, const Code& forbid) {
  std::vector<uint32_t> families;
  for (int family : socket_families()) families.push_back(static_cast<uint32_t>(family));
  return load(argument(0), if_one_of(families, allow, forbid));
}

Code add_filter_code(const Code& allow, const Code& forbid) {
  return load(argument(0), if_equal(SECCOMP_SET_MODE_FILTER, load(argument(1), if_equal(0, allow, forbid)), forbid));
}

/// Code of a call whose arguments are looked at, or that fails; empty: of a plain one.
Code special_code(int nr, const Code& allow, const Code& forbid) {
  for (const FailedCall& call : kFailed)
    if (call.nr == nr) return verdict(SECCOMP_RET_ERRNO | static_cast<uint32_t>(call.error));
  switch (check_of(nr)) {
    case Check::kNone: return {};
    case Check::kIoctl: return ioctl_code(allow, forbid);
    case Check::kPrctl: return prctl_code(allow, forbid);
    case Check::kFamily: return family_code(allow, forbid);
    case Check::kNotNewUser: return load(argument(0), if_any_bit(CLONE_NEWUSER, forbid, allow));
    case Check::kAddFilter: return add_filter_code(allow, forbid);
  }
  return {};
}

}  // namespace

Code build_filter(const Verdicts& verdicts) {
  const Code allow = verdict(SECCOMP_RET_ALLOW), forbid = verdict(verdicts.forbidden);
  const Code foreign = verdict(verdicts.foreign);
  std::deque<Code> special;
  std::vector<Range> ranges;
  constexpr int kHighest = 500;  // from here on the original's own numbers, which Linux has not
  for (int nr = 0; nr < kHighest; nr++) {
    Code code = nr == SYS_ioctl ? Code{} : special_code(nr, allow, forbid);  // ioctl: see below
    const Code* verdict = is_allowed(nr) ? &allow : &forbid;
    if (!code.empty()) verdict = &special.emplace_back(std::move(code));
    add_range(&ranges, static_cast<uint32_t>(nr), verdict);
  }
  add_range(&ranges, kHighest, &forbid);
  add_range(&ranges, kX32Bit, &foreign);
  const Code numbers = if_equal(SYS_ioctl, special_code(SYS_ioctl, allow, forbid), search(ranges));
  return load(offsetof(seccomp_data, arch),
              if_equal(AUDIT_ARCH_X86_64, load(offsetof(seccomp_data, nr), numbers), foreign));
}

std::span<const OwnCall> own_calls() { return kOwnCalls; }
std::span<const DeviceRequest> device_requests() { return kDeviceRequests; }

}  // namespace km::confine
