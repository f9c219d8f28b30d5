// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "native/binding/objects.h"
#include "native/binding/values.h"

namespace km::binding {
namespace {

constexpr const char* kDriverKinds[] = {"kvm", "kkm"};
const char* kind_of(const Capabilities& c) { return kDriverKinds[c.is_kkm]; }

Napi::Object capabilities_object(Napi::Env env, const Capabilities& c) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("apiVersion", Napi::Number::New(env, c.api_version));
  object.Set("maxVcpus", Napi::Number::New(env, c.max_vcpus < kMaxVcpus ? c.max_vcpus : kMaxVcpus));
  object.Set("maxSlots", Napi::Number::New(env, c.max_slots));
  return object;
}

/// mov $42, %edi; mov $60, %eax; syscall
constexpr uint8_t kProof[] = {0xbf, 0x2a, 0, 0, 0, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05};

/// Runs kProof on a machine of its own; a few milliseconds.
Failure prove(const std::shared_ptr<DriverCore>& driver) {
  int error = 0;
  const char* what = "";
  std::unique_ptr<Machine> made = driver->driver->create_machine({}, &error, &what);
  if (made == nullptr) return {error, what};
  auto machine = std::make_shared<MachineCore>(driver, std::move(made));
  std::shared_ptr<Region> code;
  if (Failure failure = machine->map(0, kPageSize, kRead | kExec, &code)) return failure;
  memcpy(code->alias(), kProof, sizeof kProof);
  std::unique_ptr<Vcpu> vcpu = machine->machine()->create_vcpu(&error);
  if (vcpu == nullptr) return {error, "KVM_CREATE_VCPU"};
  vcpu->regs().rip = code->address();
  Exit exit = vcpu->run();
  while (exit.kind == ExitKind::kInterrupted) exit = vcpu->run();
  const Regs& regs = vcpu->regs();
  bool proved = exit.kind == ExitKind::kSyscall && regs.rax == 60 && regs.rdi == 42;
  if (proved) return {};
  return {exit.kind == ExitKind::kFailed && exit.detail < 134 ? static_cast<int>(exit.detail) : EIO, "KVM_RUN",
          "ERR_KM_PROOF"};
}

Napi::Object probe(Napi::Env env, const char* path) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("path", Napi::String::New(env, path));
  const bool present = access(path, F_OK) == 0;
  result.Set("present", Napi::Boolean::New(env, present));
  int error = 0;
  const char* what = "";
  auto core = std::make_shared<DriverCore>();
  if (present) core->driver = open_driver(path, &error, &what);
  Failure failure{present ? error : ENOENT, present ? what : "open"};
  if (core->driver != nullptr) {
    result.Set("kind", Napi::String::New(env, kind_of(core->driver->capabilities())));
    result.Set("capabilities", capabilities_object(env, core->driver->capabilities()));
    failure = prove(core);
  }
  result.Set("usable", Napi::Boolean::New(env, !failure));
  if (failure) result.Set("error", driver_error(env, failure, path).Value());
  return result;
}

}  // namespace

Napi::Value probe_drivers(const Napi::CallbackInfo& info) {
  Napi::Array list = Napi::Array::New(info.Env());
  uint32_t at = 0;
  for (const char* path : kDeviceSearchOrder) list.Set(at++, probe(info.Env(), path));
  return list;
}

Napi::Function DriverObject::define(Napi::Env env) {
  return DefineClass(env, "Driver",
                     {InstanceAccessor<&DriverObject::path>("path"), InstanceAccessor<&DriverObject::kind>("kind"),
                      InstanceAccessor<&DriverObject::capabilities>("capabilities"),
                      InstanceMethod<&DriverObject::create_machine>("createMachine"),
                      InstanceMethod<&DriverObject::close>("close")});
}

Napi::Value DriverObject::open(const Napi::CallbackInfo& info) {
  return info.Env().GetInstanceData<AddonData>()->driver.New({info[0]});
}

DriverObject::DriverObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<DriverObject>(info) {
  if (!info[0].IsString()) {
    throw_argument(info.Env(), "openDriver(path): path must be a string");
    return;
  }
  path_ = info[0].As<Napi::String>().Utf8Value();
  int error = 0;
  const char* what = "";
  auto driver = open_driver(path_.c_str(), &error, &what);
  if (driver == nullptr) {
    throw_failure(info.Env(), {error, what}, path_.c_str());
    return;
  }
  core_ = std::make_shared<DriverCore>();
  core_->driver = std::move(driver);
}

bool DriverObject::usable(Napi::Env env) {
  if (core_ != nullptr) return true;
  throw_failure(env, {EBADF, "driver", "ERR_KM_CLOSED"}, path_.c_str());
  return false;
}

Napi::Value DriverObject::path(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), path_); }

Napi::Value DriverObject::kind(const Napi::CallbackInfo& info) {
  if (!usable(info.Env())) return info.Env().Undefined();
  return Napi::String::New(info.Env(), kind_of(core_->driver->capabilities()));
}

Napi::Value DriverObject::capabilities(const Napi::CallbackInfo& info) {
  if (!usable(info.Env())) return info.Env().Undefined();
  return capabilities_object(info.Env(), core_->driver->capabilities());
}

Napi::Value DriverObject::create_machine(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  MachineOptions options;
  if (info[0].IsObject()) {
    Napi::Value bits = info[0].As<Napi::Object>().Get("physBits");
    uint64_t value = 0;
    if (!bits.IsUndefined() && !read_u64(env, bits, "physBits", &value)) return env.Undefined();
    if (value != 0 && (value < 32 || value > 62)) {
      throw_argument(env, "physBits must be between 32 and 62");
      return env.Undefined();
    }
    options.phys_bits = static_cast<unsigned>(value);
  }
  int error = 0;
  const char* what = "";
  std::unique_ptr<Machine> machine = core_->driver->create_machine(options, &error, &what);
  if (machine == nullptr) {
    throw_failure(env, {error, what}, path_.c_str());
    return env.Undefined();
  }
  return MachineObject::wrap(env, std::make_shared<MachineCore>(core_, std::move(machine)));
}

Napi::Value DriverObject::close(const Napi::CallbackInfo& info) {
  core_.reset();  // machines made with it keep it open
  return info.Env().Undefined();
}

}  // namespace km::binding
